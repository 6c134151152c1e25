"""Recorded moves of refs: added to, never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, desc, func, select

from gitdags.model import Deployment, Move
from gitdags.store import schema as t
from gitdags.store.database import Database

_ONE = timedelta(seconds=60)
"""Two hooks see one move within this time; a ref goes from A to B twice only by way of B to A."""


class Deployments:
    """The deployments of every repository."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, moves: Sequence[Deployment]) -> list[Deployment]:
        """Those of the moves that were not there yet; they are now.

        One move of a ref that one source reports twice is one deployment: the earlier.
        """
        new = []
        with self._database.write() as db:
            self._database.take_turns(db, "deployments")
            for move in sorted(moves, key=lambda m: m.at):
                if move.old != move.new and not self._seen(db, move):
                    new += [move] * self._database.add(db, t.deployments, [_row(move)])
        return new

    @staticmethod
    def _seen(db: Connection, move: Deployment) -> bool:
        """Whether the nearest deployments of the ref, before and after, hold this very move."""
        d = t.deployments
        same = (d.c.repo == move.repo, d.c.ref == move.ref, d.c.source == move.source)
        earlier = (d.c.at >= move.at - _ONE, d.c.at <= move.at)
        later = (d.c.at <= move.at + _ONE, d.c.at > move.at)
        for window, order in ((earlier, d.c.at.desc()), (later, d.c.at.asc())):
            row = db.execute(
                select(d).where(*same, *window).order_by(order, d.c.id).limit(1)
            ).first()
            if row is not None and (row.old, row.new) == (move.old, move.new):
                return True
        return False

    def newest(
        self,
        repo: str | None = None,
        ref: str | None = None,
        *,
        limit: int | None = None,
        before: datetime | None = None,
    ) -> list[Deployment]:
        """Deployments, newest first: of one repository or ref (full name), up to a moment."""
        d = t.deployments
        query = select(d).order_by(desc(d.c.at), desc(d.c.id))
        if repo is not None:
            query = query.where(d.c.repo == repo)
        if ref is not None:
            query = query.where(d.c.ref == ref)
        if before is not None:
            query = query.where(d.c.at <= before)
        if limit is not None:
            query = query.limit(limit)
        with self._database.read() as db:
            return [_deployment(row) for row in db.execute(query)]

    def moves(self, repo: str, ref: str) -> list[Move]:
        """Where a ref stood from when on, oldest first, for dating it.

        What Airflow's bundle reports says when Airflow went along, so it counts only where nobody
        else recorded the ref.
        """
        found = self.newest(repo, ref)[::-1]
        own = [d for d in found if d.source != "airflow"] or found
        return [Move(d.at, d.new) for d in own if d.new is not None]

    def count(self) -> int:
        """How many there are."""
        with self._database.read() as db:
            return db.execute(select(func.count()).select_from(t.deployments)).scalar() or 0


def _row(move: Deployment) -> dict[str, Any]:
    at = move.at.astimezone(UTC)
    told = [move.repo, move.ref, move.old, move.new, at.isoformat(), move.source]
    return {
        "key": hashlib.sha256(json.dumps(told).encode()).hexdigest(),
        "repo": move.repo,
        "ref": move.ref,
        "old": move.old,
        "new": move.new,
        "at": at,
        "by": move.by,
        "source": move.source,
    }


def _deployment(row: Any) -> Deployment:
    return Deployment(row.repo, row.ref, row.old, row.new, row.at, row.by, row.source)
