"""Stamps, which are only ever added, and the runs and tries that are made of them with each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, case, delete, func, null, select

from gitdags import stamp
from gitdags.model import RunStamp, Stamp
from gitdags.store import run_rows
from gitdags.store import schema as t
from gitdags.store.database import Database
from gitdags.store.run_rows import Key

_RUNS = 100  # runs asked about in one query; SQLite's oldest limit on variables is 999


class Stamps:
    """The events of every installation of Airflow."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, events: Sequence[Stamp]) -> int:
        """Store events, and make the rows of the runs they are of; how many were new.

        One transaction: an event is in the store together with what follows from it.
        """
        now = datetime.now(UTC)
        return self.restore([(event, now) for event in events])

    def restore(self, recorded: Sequence[tuple[Stamp, datetime]]) -> int:
        """The same, of events that were stored before, with the times when they were."""
        with self._database.write() as db:
            self._database.take_turns(db, "stamps")
            events = [event for event, _ in recorded]
            runtimes = {run_rows.runtime_id(event.runtime): event.runtime for event in events}
            self._database.add(
                db,
                t.runtimes,
                [
                    {"id": key, **dataclasses.asdict(value)}
                    for key, value in sorted(runtimes.items())
                ],
            )
            new = self._insert(db, [run_rows.stamp_row(event, at) for event, at in recorded])
            touched = sorted({run_rows.key_of(event) for event in events if event.id in new})
            for at in range(0, len(touched), _RUNS):
                self._remake(db, touched[at : at + _RUNS])
        return len(new)

    def _insert(self, db: Connection, rows: Sequence[dict[str, Any]]) -> set[str]:
        """Add the events that are not there yet; their ids."""
        if not rows:
            return set()
        unique = list({row["id"]: row for row in rows}.values())
        statement = (
            self._database.insert(t.stamps).on_conflict_do_nothing().returning(t.stamps.c.id)
        )
        return set(db.execute(statement, unique).scalars())

    def _remake(self, db: Connection, keys: Sequence[Key]) -> None:
        """Make the rows of these runs anew of all their events."""
        runs = [run for _, events in self._events(db, keys) for run in stamp.derive(events)]
        r = t.runs
        insert = self._database.insert(r)
        moved = r.c.commit.is_distinct_from(insert.excluded.commit)
        derived = ("repo", "commit", "bundle", "source", "stamped_at", "state", "conflict", "dirty",
                   "moved_to")  # fmt: skip
        changes: dict[str, Any] = {name: insert.excluded[name] for name in derived}
        # The repository of a run may have been found since, which no event says.
        changes["repo"] = case(
            (moved, insert.excluded.repo), else_=func.coalesce(insert.excluded.repo, r.c.repo)
        )
        for name in ("dag_hash", "code_hash", "doubt"):  # the document of another commit
            changes[name] = case((moved, null()), else_=r.c[name])
        statement = insert.on_conflict_do_update(
            index_elements=[r.c.airflow, r.c.dag_id, r.c.run_id, r.c.generation], set_=changes
        ).returning(r.c.id, r.c.airflow, r.c.dag_id, r.c.run_id, r.c.generation)
        made = db.execute(statement, [run_rows.run_row(run) for run in runs])
        ids = {(row.airflow, row.dag_id, row.run_id, row.generation): row.id for row in made}
        again = [(run.airflow, run.dag_id, run.run_id) for run in runs if run.generation > 1]
        for key in again:  # its tries may belong to another generation now
            mine = [number for place, number in ids.items() if place[:3] == key]
            db.execute(delete(t.tries).where(t.tries.c.run.in_(mine)))
        rows = [
            run_rows.try_row(ids[run.airflow, run.dag_id, run.run_id, run.generation], one)
            for run in runs
            for one in run.tries
        ]
        if rows:
            self._insert_tries(db, rows)

    def _insert_tries(self, db: Connection, rows: Sequence[dict[str, Any]]) -> None:
        y = t.tries
        insert = self._database.insert(y)
        moved = y.c.commit.is_distinct_from(insert.excluded.commit)
        names = ("repo", "commit", "state", "source", "stamped_at", "ti_id", "conflict", "dirty",
                 "runtime_id")  # fmt: skip
        changes: dict[str, Any] = {name: insert.excluded[name] for name in names}
        changes["repo"] = case(
            (moved, insert.excluded.repo), else_=func.coalesce(insert.excluded.repo, y.c.repo)
        )
        for name in ("dag_hash", "doubt"):
            changes[name] = case((moved, null()), else_=y.c[name])
        statement = insert.on_conflict_do_update(
            index_elements=[y.c.run, y.c.task_id, y.c.map_index, y.c.try_number], set_=changes
        )
        db.execute(statement, list(rows))

    def _events(self, db: Connection, keys: Sequence[Key]) -> Iterator[tuple[Key, list[Stamp]]]:
        """All events of some runs, each run's in order of arrival."""
        s, x = t.stamps, t.runtimes
        query = select(s, x.c.airflow.label("airflow_version"), x.c.python, x.c.image, x.c.packages)
        query = (
            query.join(x, x.c.id == s.c.runtime_id)
            .where(run_rows.any_of(s, keys))
            .order_by(s.c.seq)
        )
        found: dict[Key, list[Stamp]] = {key: [] for key in keys}
        for row in db.execute(query):
            found[row.airflow, row.dag_id, row.run_id].append(run_rows.stamp(row))
        yield from found.items()

    def events(self, run: RunStamp) -> list[Stamp]:
        """Everything that was ever said of a run id, in order of arrival."""
        key = (run.airflow, run.dag_id, run.run_id)
        with self._database.read() as db:
            return dict(self._events(db, [key]))[key]
