"""The database itself: its schema, reading and writing it, rows that may be there already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError

from gitdags.store import schema as t
from gitdags.store.engine import (
    OlderStore,
    StoreUnavailable,
    connect_to,
    refuse_newer,
    revision_of,
    unavailable,
)

T = TypeVar("T")

_CHUNK = 500  # values in one IN (...); SQLite's oldest limit on variables is 999


class Database:
    """One database. Made on first use; never changed to another schema without being asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = connect_to(url)
        self._checked = False

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    # ── schema ────────────────────────────────────────────────────────────────────────────

    def revision(self) -> str | None:
        """The schema the database has, None for an empty one. Raises StoreUnavailable."""
        with self._guard(), self._engine.connect() as connection:
            return revision_of(connection)

    def upgrade(self) -> str:
        """Bring the schema to this version's; the revision reached. Raises NewerStore."""
        from gitdags.store import migrate  # Alembic takes longer to import than most commands run

        with self._guard():
            self._make_folder()
            with self._engine.connect() as connection:
                writer = connection.execution_options(gitdags_write=True)
                with writer.begin():
                    refuse_newer(revision_of(writer))
                    migrate.upgrade(writer)
        self._checked = True
        return t.REVISION

    def _connect(self) -> Engine:
        """The engine, once the schema is known to be ours; an empty database gets it."""
        if not self._checked:
            self._make_folder()
            found = self.revision()
            if found is None:
                self.upgrade()
            elif found != t.REVISION:
                refuse_newer(found)
                raise OlderStore(
                    f"the store has schema {found}, this gitdags wants {t.REVISION}",
                    hint="gitdags db upgrade",
                )
            self._checked = True
        return self._engine

    def _make_folder(self) -> None:
        database = self._engine.url.database
        if self._engine.dialect.name == "sqlite" and database and database != ":memory:":
            try:
                Path(database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailable(
                    f"cannot make {Path(database).parent}: {error.strerror}",
                    hint="gitdags -c home=/some/writable/folder repos",
                ) from None

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise unavailable(self._engine, error) from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with. Raises StoreUnavailable, NewerStore or OlderStore."""
        with self._guard(), self._connect().connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection inside a transaction, which is committed on leaving. Raises as `read`."""
        with self._guard(), self._connect().connect() as connection:
            writer = connection.execution_options(gitdags_write=True)
            with writer.begin():
                yield writer

    def insert(self, table: Table) -> Any:
        """An INSERT that can say what to do on conflict, in the database's own dialect."""
        postgresql = self._engine.dialect.name == "postgresql"
        return postgresql_insert(table) if postgresql else sqlite_insert(table)

    def add(self, db: Connection, table: Table, new: Sequence[dict[str, Any]]) -> int:
        """Insert the rows that are not there yet; how many those were."""
        if not new:
            return 0
        key = next(iter(table.primary_key))
        # What RETURNING gives back is counted: drivers report no number for several rows.
        statement = self.insert(table).on_conflict_do_nothing().returning(key)
        return len(db.execute(statement, list(new)).all())

    @staticmethod
    def take_turns(db: Connection, what: str) -> None:
        """Wait until no other transaction is at the same thing, to the end of this one.

        For what is made of rows that another writer may be adding to. SQLite has one writer anyway.
        """
        _lock(db, "pg_advisory_xact_lock", what)

    @staticmethod
    def share_turn(db: Connection, what: str) -> None:
        """Keep out, to the end of this transaction, those that `take_turns`; not one another."""
        _lock(db, "pg_advisory_xact_lock_shared", what)


def _lock(db: Connection, function: str, what: str) -> None:
    if db.dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], signed=True)
        db.execute(text(f"SELECT {function}(:key)"), {"key": key})


def chunks(values: Iterable[T], size: int = _CHUNK) -> Iterator[list[T]]:
    """The values in lists short enough for one IN (...)."""
    items = list(values)
    for at in range(0, len(items), size):
        yield items[at : at + size]
