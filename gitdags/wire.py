"""Model objects as JSON, with the keys that scripts hold on to. `--json` and the API both speak it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitdags.config import Settings
from gitdags.model import (
    Blamed,
    Commit,
    Comparison,
    DagDiff,
    Deployment,
    Executed,
    Json,
    Listing,
    RunStamp,
    ShownDocument,
    Suspect,
    Suspicion,
    Try,
    Version,
)
from gitdags.serialize.document import select


def plain(value: Any) -> Json:
    """Any of them: dataclasses by field, times as RFC 3339 in UTC."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def moment(value: datetime) -> str:
    """RFC 3339, UTC, ``Z``."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def listing(found: Listing) -> Json:
    """The DAGs of a commit, and its failures."""
    return {
        "repo": found.repo,
        "commit": found.commit,
        "dags": [
            {
                "dag_id": row.dag_id,
                "file": row.file,
                "dag_hash": row.dag_hash,
                "code_hash": row.code_hash,
                "tasks": row.tasks,
                "engine": row.engine,
                "environment": row.environment,
            }
            for row in found.dags
        ],
        "errors": [
            {
                "file": error.file,
                "type": error.type,
                "message": error.message,
                "dag_ids": list(error.dag_ids),
            }
            for error in found.errors
        ],
    }


def document(found: ShownDocument, settings: Settings) -> Json:
    """A document as settings show it, with what its row says."""
    row = found.row
    data = select(found.document, settings["include"], settings["exclude"])
    data |= {
        "file": row.file,
        "engine": row.engine,
        "environment": row.environment,
        "guesses": list(row.guesses),
        "placeholders": list(row.placeholders),
    }
    if found.stale_from is not None:
        data["stale_from"] = found.stale_from
    return data


def commit(found: Commit) -> dict[str, Json]:
    """Whose, when and why."""
    return {
        "commit": found.sha,
        "committed_at": moment(found.committed_at),
        "author": found.author,
        "subject": found.subject,
    }


def version(found: Version) -> Json:
    """One version of a DAG."""
    return {
        **commit(found.commit),
        "change": found.change,
        "dag_id": found.dag_id,
        "dag_hash": found.dag_hash,
        "code_hash": found.code_hash,
        "engine": found.engine,
    }


def blamed(found: Blamed) -> Json:
    """A task or an edge with the commits that brought and last changed it."""
    single = len(found.name) == 1
    return {
        ("task_id" if single else "edge"): found.name[0] if single else list(found.name),
        "added": commit(found.added),
        "changed": commit(found.changed),
        "boundary": found.boundary,
    }


def comparison(found: Comparison) -> Json:
    """What differs between two commits."""
    return {
        "from": found.old,
        "to": found.new,
        "added": list(found.added),
        "removed": list(found.removed),
        "failed": list(found.failed),
        "fixed": list(found.fixed),
        "changed": [dag_diff(one) for one in found.changed],
    }


def dag_diff(one: DagDiff) -> Json:
    """What differs between two documents of one DAG."""
    return {
        "dag_id": one.dag_id,
        "code_only": one.code_only,
        "attributes": _pairs(one.attributes),
        "tasks_added": list(one.tasks_added),
        "tasks_removed": list(one.tasks_removed),
        "tasks_changed": {t: _pairs(f) for t, f in one.tasks_changed.items()},
        "edges_added": [list(edge) for edge in one.edges_added],
        "edges_removed": [list(edge) for edge in one.edges_removed],
        "edges_changed": [list(edge) for edge in one.edges_changed],
        "groups_added": list(one.groups_added),
        "groups_removed": list(one.groups_removed),
        "groups_changed": {g: _pairs(f) for g, f in one.groups_changed.items()},
        "files_changed": list(one.files_changed),
    }


def suspicion(found: Suspicion) -> Json:
    """What changed between the last good run and a run."""
    return {
        "run": run(found.run),
        "commit": found.commit,
        "good": None if found.good is None else run(found.good),
        "good_commit": found.good_commit,
        "commits": found.commits,
        "missing": list(found.missing),
        "suspects": [_suspect(each) for each in found.suspects],
        "undone": [_suspect(each) for each in found.undone],
        "environment": _pairs(found.runtime),
    }


def _suspect(found: Suspect) -> Json:
    return {
        **commit(found.commit),
        "files": list(found.files),
        "change": found.change,
        "diff": None if found.diff is None else dag_diff(found.diff),
    }


def run(found: RunStamp) -> Json:
    """A run, the commit it began with, and its tries."""
    return {
        "airflow": found.airflow,
        "dag_id": found.dag_id,
        "run_id": found.run_id,
        "repo": found.repo,
        "commit": found.commit,
        "dag_hash": found.dag_hash,
        "code_hash": found.code_hash,
        "source": found.source,
        "stamped_at": moment(found.stamped_at),
        "state": found.state,
        "generation": found.generation,
        "moved_to": list(found.moved_to),
        "conflict": found.conflict,
        "flags": list(found.flags),
        "tries": [_try(one) for one in found.tries],
    }


def _try(found: Try) -> Json:
    return {
        "task_id": found.task_id,
        "map_index": found.map_index,
        "try_number": found.try_number,
        "commit": found.commit,
        "dag_hash": found.dag_hash,
        "state": found.state,
        "source": found.source,
        "stamped_at": moment(found.stamped_at),
        "conflict": found.conflict,
        "dirty": found.dirty,
        "airflow_version": found.runtime.airflow or None,
        "python": found.runtime.python or None,
        "image": found.runtime.image or None,
        "packages": found.runtime.packages or None,
    }


def executed(found: Executed) -> Json:
    """A DAG as Airflow executed it, and where that differs from the document of its commit."""
    differences = found.differences
    return {
        "executed": found.body,
        "differences": None
        if differences is None
        else [{"path": d.path, "executed": d.executed, "parsed": d.parsed} for d in differences],
    }


def deployment(found: Deployment) -> Json:
    """A recorded move of a ref."""
    return {
        "repo": found.repo,
        "ref": found.ref,
        "old": found.old,
        "new": found.new,
        "at": moment(found.at),
        "by": found.by,
        "source": found.source,
    }


def _pairs(fields: Mapping[str, Sequence[Json]]) -> dict[str, list[Json]]:
    return {name: list(pair) for name, pair in fields.items()}
