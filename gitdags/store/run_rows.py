"""Stamps, runs and tries to rows and back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_

from gitdags.model import RunStamp, Runtime, Stamp, Try

Key = tuple[str, str, str]
"""(airflow, dag_id, run_id)"""


def any_of(table: Any, keys: Sequence[Key]) -> Any:
    """Whether a row is of one of these runs."""
    c = table.c
    return or_(*(and_(c.airflow == a, c.dag_id == d, c.run_id == r) for a, d, r in keys))


def key_of(event: Stamp) -> Key:
    return (event.airflow, event.dag_id, event.run_id)


def runtime_id(runtime: Runtime) -> str:
    told = json.dumps(dataclasses.astuple(runtime))
    return hashlib.sha256(told.encode()).hexdigest()


_PLAIN = ("id", "airflow", "dag_id", "run_id", "state", "source", "at", "task_id", "map_index",
          "try_number", "ti_id", "run_uid", "repo", "commit", "bundle", "path", "dirty")  # fmt: skip


def stamp_row(event: Stamp, now: datetime) -> dict[str, Any]:
    return {
        **{name: getattr(event, name) for name in _PLAIN},
        "runtime_id": runtime_id(event.runtime),
        "recorded_at": now,
    }


def stamp(row: Any) -> Stamp:
    runtime = Runtime(row.airflow_version, row.python, row.image, row.packages)
    return Stamp(**{name: getattr(row, name) for name in _PLAIN}, runtime=runtime)


def run_row(run: RunStamp) -> dict[str, Any]:
    names = ("airflow", "dag_id", "run_id", "generation", "repo", "commit", "bundle", "source",
             "stamped_at", "state", "conflict", "dirty")  # fmt: skip
    row = {name: getattr(run, name) for name in names}
    return {**row, "moved_to": json.dumps(run.moved_to), "unstable": False}


def run(row: Any) -> RunStamp:
    return RunStamp(
        airflow=row.airflow,
        dag_id=row.dag_id,
        run_id=row.run_id,
        generation=row.generation,
        repo=row.repo,
        commit=row.commit,
        source=row.source,
        stamped_at=row.stamped_at,
        state=row.state,
        bundle=row.bundle,
        conflict=row.conflict,
        dirty=row.dirty,
        dag_hash=row.dag_hash,
        code_hash=row.code_hash,
        doubt=row.doubt,
        unstable=row.unstable,
        moved_to=tuple(json.loads(row.moved_to)),
        id=row.id,
    )


def try_row(run: int, one: Try) -> dict[str, Any]:
    names = ("task_id", "map_index", "try_number", "repo", "commit", "state", "source", "stamped_at",
             "ti_id", "conflict", "dirty")  # fmt: skip
    row = {name: getattr(one, name) for name in names}
    return {"run": run, **row, "runtime_id": runtime_id(one.runtime)}


def a_try(row: Any) -> Try:
    return Try(
        task_id=row.task_id,
        map_index=row.map_index,
        try_number=row.try_number,
        repo=row.repo,
        commit=row.commit,
        state=row.state,
        source=row.source,
        stamped_at=row.stamped_at,
        ti_id=row.ti_id,
        conflict=row.conflict,
        dirty=row.dirty,
        dag_hash=row.dag_hash,
        runtime=Runtime(row.airflow, row.python, row.image, row.packages),
    )
