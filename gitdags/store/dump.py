"""What of the store cannot be made again, as plain rows: out for a backup, and in again.

Documents, manifests, runs and tries are not among them: they follow from commits and stamps. A row is
a JSON object whose keys are the columns' names; loading one that is there already changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import Select, select

from gitdags.model import Runtime, Stamp, StampSource
from gitdags.store import schema as t
from gitdags.store.store import Store

Row = dict[str, Any]
_AT_ONCE = 2_000  # rows in one transaction
_RUN = (t.runs.c.airflow, t.runs.c.dag_id, t.runs.c.run_id, t.runs.c.generation)


class Dump:
    """Reads and writes the rows of one store by the name of their kind."""

    KINDS = ("deployments", "stamps", "executed", "rendered")
    """in the order in which they are loaded: runs are made of stamps, and the others hang on runs"""

    def __init__(self, store: Store) -> None:
        self._store = store

    def rows(self, kind: str) -> Iterator[Row]:
        """Every row of a kind, in the order they were stored."""
        with self._store.read() as db:
            found = db.execution_options(yield_per=_AT_ONCE).execute(_QUERIES[kind])
            for row in found.mappings():
                yield {
                    name: value.isoformat() if isinstance(value, datetime) else value
                    for name, value in row.items()
                }

    def load(self, kind: str, rows: Iterable[Row]) -> int:
        """Store rows; how many were new. Raises ValueError or KeyError for what is no row of the kind."""
        put = {
            "deployments": self._deployments,
            "stamps": self._stamps,
            "executed": self._executed,
            "rendered": self._rendered,
        }[kind]
        return sum(put(part) for part in _parts(rows))

    def _deployments(self, rows: list[Row]) -> int:
        table = t.deployments
        names = [column.name for column in table.c if column.name != "id"]
        new = [
            {name: row[name] for name in names} | {"at": datetime.fromisoformat(row["at"])}
            for row in rows
        ]
        with self._store.write() as db:
            return self._store.add(db, table, new)

    def _stamps(self, rows: list[Row]) -> int:
        return self._store.stamps.restore([_stamp(row) for row in rows])

    def _executed(self, rows: list[Row]) -> int:
        return sum(
            self._store.evidence.execute(
                [(str(row["airflow"]), str(row["dag_id"]), str(row["run_id"]))], str(row["body"])
            )
            for row in rows
        )

    def _rendered(self, rows: list[Row]) -> int:
        new = []
        with self._store.write() as db:
            for row in rows:
                json.loads(row["fields"])
                run = db.execute(
                    select(t.runs.c.id).where(*(column == row[column.name] for column in _RUN))
                ).scalar()
                if run is not None:
                    names = ("task_id", "map_index", "try_number", "fields")
                    new.append({"run": run} | {name: row[name] for name in names})
            return self._store.add(db, t.rendered_fields, new)


_STAMP = [column for column in t.stamps.c if column.name not in ("seq", "runtime_id")]
_RUNTIME = [
    column.label(f"runtime_{column.name}") for column in t.runtimes.c if column.name != "id"
]
_QUERIES: dict[str, Select[Any]] = {
    "deployments": select(*(c for c in t.deployments.c if c.name != "id")).order_by(
        t.deployments.c.id
    ),
    "stamps": select(*_STAMP, *_RUNTIME).join(t.runtimes).order_by(t.stamps.c.seq),
    "executed": select(*_RUN[:3], t.executed_documents.c.body)
    .join(t.executed_documents, t.runs.c.executed_hash == t.executed_documents.c.hash)
    .order_by(t.runs.c.id),
    "rendered": select(*_RUN, *(column for column in t.rendered_fields.c if column.name != "run"))
    .join(t.runs, t.runs.c.id == t.rendered_fields.c.run)
    .order_by(t.rendered_fields.c.run),
}


def _stamp(row: Row) -> tuple[Stamp, datetime]:
    """(event, when it was stored) of a row. Raises ValueError or KeyError."""
    fields: Row = {column.name: row[column.name] for column in _STAMP}
    recorded = datetime.fromisoformat(fields.pop("recorded_at"))
    if fields["source"] not in get_args(StampSource):
        raise ValueError(f"the source of a stamp is {fields['source']!r}")
    fields["at"] = datetime.fromisoformat(fields["at"])
    runtime = {f.name: str(row[f"runtime_{f.name}"]) for f in dataclasses.fields(Runtime)}
    return Stamp(**fields, runtime=Runtime(**runtime)), recorded


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    for row in rows:
        part.append(row)
        if len(part) == _AT_ONCE:
            yield part
            part = []
    if part:
        yield part
