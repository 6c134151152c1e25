"""Access tokens and webhook deliveries: what a server must remember of those who speak to it.

A token's secret is 256 random bits, so one SHA-256 of it is enough to keep: it cannot be guessed,
and whoever reads the table cannot use it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, update

from gitdags.errors import GitdagsError, quoted
from gitdags.model import Scope, Token
from gitdags.store import schema as t
from gitdags.store.database import Database

_PREFIX = "gitdags"


class UnknownToken(GitdagsError):
    """There is no token of that id."""

    http_status = 404


class Tokens:
    """The tokens of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        scope: Scope,
        repository: str | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[Token, str]:
        """(the token, its text): the text is shown once and kept nowhere."""
        ident, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        token = Token(ident, name, scope, repository, datetime.now(UTC), expires_at)
        row = {
            "id": token.id,
            "name": name,
            "scope": scope,
            "repository": repository,
            "digest": _digest(secret),
            "created_at": token.created_at,
            "expires_at": expires_at,
            "revoked_at": None,
        }
        with self._database.write() as db:
            db.execute(t.tokens.insert().values(**row))
        return token, f"{_PREFIX}_{ident}_{secret}"

    def all(self) -> list[Token]:
        """Every token, oldest first."""
        with self._database.read() as db:
            found = db.execute(select(t.tokens).order_by(t.tokens.c.created_at, t.tokens.c.id))
            return [_token(row) for row in found]

    def any(self) -> bool:
        """Whether one of them still opens something."""
        now = datetime.now(UTC)
        return any(token.holds(now) for token in self.all())

    def find(self, text: str) -> Token | None:
        """The token of that text, if it still holds. Takes the same time for any wrong secret."""
        prefix, _, rest = text.partition("_")
        ident, _, secret = rest.partition("_")
        if prefix != _PREFIX or not secret:
            return None
        with self._database.read() as db:
            row = db.execute(select(t.tokens).where(t.tokens.c.id == ident)).one_or_none()
        known = hmac.compare_digest(row.digest if row is not None else "", _digest(secret))
        if row is None or not known:
            return None
        token = _token(row)
        return token if token.holds(datetime.now(UTC)) else None

    def revoke(self, ident: str) -> None:
        """Make a token open nothing from now on. Raises UnknownToken."""
        change = (
            update(t.tokens)
            .where(t.tokens.c.id == ident, t.tokens.c.revoked_at.is_(None))
            .values(revoked_at=datetime.now(UTC))
        )
        with self._database.write() as db:
            if db.execute(change).rowcount == 0:
                raise UnknownToken(
                    f"no token in use has the id {quoted(ident)}", hint="gitdags token list"
                )

    # ── webhooks ──────────────────────────────────────────────────────────────────────────

    def first_delivery(self, sender: str, delivery: str) -> bool:
        """Note a webhook's delivery id; False for one that was seen before: a replay."""
        row = {"sender": sender, "delivery": delivery, "received_at": datetime.now(UTC)}
        with self._database.write() as db:
            return self._database.add(db, t.deliveries, [row]) == 1

    def forget_deliveries(self, before: datetime) -> int:
        """Drop the ids of deliveries before a moment; how many."""
        with self._database.write() as db:
            gone = db.execute(delete(t.deliveries).where(t.deliveries.c.received_at < before))
            return int(gone.rowcount)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: Any) -> Token:
    return Token(
        row.id, row.name, row.scope, row.repository, row.created_at, row.expires_at, row.revoked_at
    )
