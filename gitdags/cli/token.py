"""gitdags token: access tokens of `gitdags serve`."""

from __future__ import annotations

import argparse
import getpass
from datetime import UTC, datetime, timedelta

from gitdags.cli import table
from gitdags.cli.context import Context
from gitdags.cli.words import day
from gitdags.errors import UsageError, shown
from gitdags.model import Token
from gitdags.store import Store

SCOPES = ("read", "stamp", "admin")


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create", help="make a token and print it, this once", description="Make a token."
    )
    create.add_argument(
        "--scope",
        choices=SCOPES,
        default="read",
        help="read pages and API; stamp: add stamps and nothing else; admin: both, and webhooks",
    )
    create.add_argument("--name", help="who uses it; default: your user name")
    create.add_argument("--only", metavar="REPO", help="the one repository it is good for")
    create.add_argument("--days", type=int, metavar="N", help="days until it ends; default: never")
    actions.add_parser("list", help="list the tokens", description="List the tokens.")
    revoke = actions.add_parser("revoke", help="end a token", description="End a token.")
    revoke.add_argument("id", help="its id, as `token list` shows it")


def run(context: Context, args: argparse.Namespace) -> int:
    """The token's text on stdout, alone; it is kept nowhere."""
    store = Store(context.settings.database)
    try:
        if args.action == "create":
            _create(context, store, args)
        elif args.action == "revoke":
            store.tokens.revoke(args.id)
            context.note(f"{args.id} opens nothing any more")
        else:
            _list(context, store.tokens.all())
    finally:
        store.close()
    return 0


def _create(context: Context, store: Store, args: argparse.Namespace) -> None:
    if args.days is not None and not 0 < args.days <= 36_500:
        raise UsageError("--days is no number from 1 to 36500", hint="gitdags token create -h")
    ends = None if args.days is None else datetime.now(UTC) + timedelta(days=args.days)
    name = args.name or getpass.getuser()
    token, text = store.tokens.create(name, args.scope, args.only, ends)
    if context.json:
        context.write_json({**_as_json(token), "token": text})
        return
    context.out.print(text)
    until = "" if ends is None else f", until {day(ends)}"
    context.note(f"{token.id}: scope {token.scope}{until}; it is shown this once")


def _list(context: Context, tokens: list[Token]) -> None:
    if context.json:
        context.write_json([_as_json(token) for token in tokens])
        return
    now = datetime.now(UTC)
    rows: list[list[table.Cell]] = [
        [
            (token.id, "bold" if token.holds(now) else "dim"),
            token.scope,
            shown(token.name),
            token.repository or "all",
            day(token.created_at),
            _state(token, now),
        ]
        for token in tokens
    ]
    table.write(context.out, rows, ("ID", "SCOPE", "NAME", "REPOSITORY", "MADE", "STATE"))
    if not tokens:
        context.note("there is no token\nhint: gitdags token create")


def _state(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return f"revoked {day(token.revoked_at)}"
    if token.expires_at is None:
        return "in use"
    return f"until {day(token.expires_at)}" if token.holds(now) else "ended"


def _as_json(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "scope": token.scope,
        "repository": token.repository,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }
