"""The connection: which databases, how SQLite is set up, and what is said when one cannot be used."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from gitdags.errors import GitdagsError, shown
from gitdags.store import schema as t


class StoreUnavailable(GitdagsError):
    """The database cannot be reached, read or written."""

    http_status = 503


class NewerStore(GitdagsError):
    """The store was made by a later gitdags."""

    http_status = 503


class OlderStore(GitdagsError):
    """The store wants `gitdags db upgrade`."""

    http_status = 503


def connect_to(url: str) -> Engine:
    try:
        parsed = make_url(url)
        # A server that was started again has closed its connections: ask before using one.
        remote = parsed.get_backend_name() == "postgresql"
        engine = create_engine(parsed, pool_pre_ping=remote)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        missing = isinstance(error, ModuleNotFoundError)
        raise StoreUnavailable(
            f"GITDAGS_DB: {shown(str(error))}",
            hint="pip install 'gitdags[postgres]'" if missing else "gitdags config",
        ) from None
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise StoreUnavailable(
            f"GITDAGS_DB: {engine.dialect.name} is neither SQLite nor PostgreSQL",
            hint="gitdags config",
        )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver must not begin transactions by itself: it would do so too late for a write lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 30000")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = NORMAL")
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A write that begins as a read cannot wait for another writer: SQLite fails it at once.
    writes = connection.get_execution_options().get("gitdags_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def revision_of(connection: Connection) -> str | None:
    """The revision Alembic noted, or None; its table is absent in an empty database."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def refuse_newer(found: str | None) -> None:
    if found is not None and found > t.REVISION:
        raise NewerStore(
            f"the store has schema {found}; this gitdags knows {t.REVISION} and before",
            hint="pip install --upgrade gitdags",
        )


def unavailable(engine: Engine, error: DBAPIError) -> StoreUnavailable:
    reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    where = engine.url.render_as_string(hide_password=True)
    if "full" in reason:
        hint = "df -h"
    elif "readonly" in reason or "unable to open" in reason:
        hint = "gitdags -c home=/some/writable/folder repos"
    else:
        hint = "gitdags doctor"
    return StoreUnavailable(f"the store {where}: {shown(reason, 200)}", hint=hint)
