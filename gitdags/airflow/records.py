"""Events of Airflow as records of the spool: pure, and in no need of Airflow.

Scheduler and API server hand over rows of their database. Only what is loaded in such a row is read
(its ``__dict__``): asking for anything else would make SQLAlchemy query, inside the scheduler's loop.
A worker hands over a task instance that has its bundle, the one witness of what code really ran.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from gitdags.model import is_sha

_COMMIT_IN_PATH = re.compile(r"/([0-9a-f]{40})(?=/|$)")

Record = dict[str, Any]


def from_worker(task_instance: Any) -> bool:
    """Whether a task's own process sends this: scheduler and API server have no bundle to show."""
    return vars(task_instance).get("bundle_instance") is not None


def of_run(
    dag_run: Any,
    state: str,
    airflow: str,
    repos: Mapping[str, str],
    bundle: str | None = None,
) -> Record | None:
    """A run's stamp from its row; None where not even its name is loaded.

    ``repos``: bundle name -> repository; ``bundle``: the DAG's, where the row does not tell.
    """
    row = vars(dag_run)
    if row.get("dag_id") is None or row.get("run_id") is None:
        return None
    version = row.get("bundle_version")
    record = {
        "kind": "stamp",
        "airflow": airflow,
        "dag_id": row["dag_id"],
        "run_id": row["run_id"],
        "run_uid": None if row.get("id") is None else str(row["id"]),
        "state": state,
        "source": "scheduler",
        "bundle": bundle_of_row(dag_run) or bundle,
        "commit": version if isinstance(version, str) and is_sha(version) else None,
    }
    return _with_repo(record, repos)


def bundle_of_row(row: Any) -> str | None:
    """The name of a run's or a task instance's bundle, where one of the rows that tell it is loaded."""
    for relation in ("dag_model", "created_dag_version", "dag_version"):
        other = vars(row).get(relation)
        name = None if other is None else vars(other).get("bundle_name")
        if name is not None:
            return str(name)
    return None


def of_row(task_instance: Any, state: str, airflow: str) -> Record | None:
    """A state that somebody else than the task's process gave it: no word on what code ran."""
    row = vars(task_instance)
    if any(row.get(name) is None for name in ("dag_id", "run_id", "task_id")):
        return None
    found = str(getattr(row.get("state"), "value", row.get("state")))
    return {
        "kind": "stamp",
        "airflow": airflow,
        **_names(row),
        "state": found if found == "up_for_retry" else state,
        "source": "scheduler",
        "bundle": bundle_of_row(task_instance),
    }


def of_try(task_instance: Any, state: str, airflow: str, repos: Mapping[str, str]) -> list[Record]:
    """A try's stamps from its own process: what its bundle says, and its path where that differs.

    Where neither names a commit, as in a plain checkout, the path is there for the drainer to look at.
    """
    row = vars(task_instance)
    bundle = row["bundle_instance"]
    path = dag_file(task_instance)
    said = bundle.version if isinstance(bundle.version, str) and is_sha(bundle.version) else None
    seen = commit_in(path)
    base = {
        "kind": "stamp",
        "airflow": airflow,
        **_names(row),
        "state": str(getattr(row.get("state"), "value", state)) if state == "failed" else state,
        "bundle": bundle.name,
        "path": path,
    }
    sources: list[tuple[str, str | None]] = [("worker", said)] if said else []
    if seen is not None and seen != said:
        sources.append(("path", seen))
    return [
        _with_repo({**base, "source": source, "commit": commit}, repos)
        for source, commit in sources or [("worker", None)]
    ]


def dag_file(task_instance: Any) -> str | None:
    """The real path of the file that the task's DAG was read from."""
    dag = getattr(vars(task_instance).get("task"), "dag", None)
    fileloc = getattr(dag, "fileloc", None)
    return os.path.realpath(fileloc) if isinstance(fileloc, str) and fileloc else None


def commit_in(path: str | None) -> str | None:
    """The commit whose tree a path lies in, as below a mount or a depot: its first full id."""
    found = _COMMIT_IN_PATH.search(path or "")
    return found[1] if found else None


def _names(row: Mapping[str, Any]) -> Record:
    """What names a try."""
    map_index = row.get("map_index")
    return {
        "dag_id": row["dag_id"],
        "run_id": row["run_id"],
        "task_id": row["task_id"],
        "map_index": -1 if map_index is None else map_index,
        "try_number": row.get("try_number") or 0,
        "ti_id": None if row.get("id") is None else str(row["id"]),
    }


def _with_repo(record: Record, repos: Mapping[str, str]) -> Record:
    repo = repos.get(record["bundle"] or "")
    return record if repo is None else {**record, "repo": repo}
