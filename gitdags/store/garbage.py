"""What nothing in the store refers to any more. Never what a stamped run has.

One transaction, which index runs wait for: no document can go between its being found there and its
being referred to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Table, delete, exists, func, select

from gitdags.store import schema as t
from gitdags.store.database import Database, chunks


class Garbage:
    """The store's own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self, gone: Mapping[int, Collection[str]], *, dry: bool = False) -> dict[str, int]:
        """Remove what can go; rows removed by table. ``dry``: only count them.

        ``gone``: repository id -> commits it does not have any more, and nobody can ask for. Those that
        some run ran at stay.
        """
        counts: dict[str, int] = {}
        with self._database.write() as db:
            self._database.take_turns(db, "documents")
            savepoint = db.begin_nested()
            counts["snapshots"] = sum(
                self._forget(db, repository, commits) for repository, commits in gone.items()
            )
            for table, columns, holders in _HELD:
                counts[table.name] = self._sweep(db, table, columns, holders)
            if dry:
                savepoint.rollback()
        return counts

    @staticmethod
    def _forget(db: Connection, repository: int, commits: Collection[str]) -> int:
        """Remove the snapshots of a repository's commits that no run or try ran at."""
        s = t.snapshots
        ran = [exists().where(table.c.commit == s.c.commit) for table in (t.runs, t.tries)]
        return sum(
            db.execute(
                delete(s).where(
                    s.c.repository_id == repository, s.c.commit.in_(chunk), ~ran[0], ~ran[1]
                )
            ).rowcount
            for chunk in chunks(sorted(commits))
        )

    @staticmethod
    def _sweep(
        db: Connection, table: Table, column: str, holders: Collection[tuple[Table, str]]
    ) -> int:
        """Remove the rows that no holder's column refers to, and what hangs on them."""
        own = table.c[column]
        free = select(own)
        for holder, name in holders:
            free = free.where(~exists().where(holder.c[name] == own))
        count = db.execute(select(func.count()).select_from(free.subquery())).scalar() or 0
        if count:
            for part, name in _PARTS.get(table.name, ()):
                db.execute(delete(part).where(part.c[name].in_(free)))
            db.execute(delete(table).where(own.in_(free)))
        return count

    def commits(self, repository: int) -> list[str]:
        """The commits of a repository that something is stored of."""
        s = t.snapshots
        query = select(s.c.commit).where(s.c.repository_id == repository).distinct()
        with self._database.read() as db:
            return list(db.execute(query).scalars())


_HELD: tuple[tuple[Table, str, tuple[tuple[Table, str], ...]], ...] = (
    (t.manifests, "hash", ((t.snapshots, "manifest_hash"),)),
    (
        t.documents,
        "dag_hash",
        ((t.manifest_dags, "dag_hash"), (t.runs, "dag_hash"), (t.tries, "dag_hash")),
    ),
    (t.codes, "code_hash", ((t.manifest_dags, "code_hash"), (t.runs, "code_hash"))),
    (t.executed_documents, "hash", ((t.runs, "executed_hash"),)),
)
"""(table, key, what may refer to it), in the order in which one sets the next free."""

_PARTS: Mapping[str, Any] = {
    "manifests": ((t.manifest_dags, "manifest_hash"), (t.manifest_errors, "manifest_hash")),
    "documents": ((t.airflow_documents, "dag_hash"),),
}
"""Rows that go with a row: (table, its column)."""
