"""Model objects to rows and back; what makes two commits share a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitdags.model import ListedDag, ParseFailure, RegisteredRepository, StoredEnvironment
from gitdags.serialize import document
from gitdags.serialize.document import Document
from gitdags.serialize.environment import Environment


@dataclass(frozen=True, slots=True)
class FoundDag:
    """A DAG at a commit, on its way into the store."""

    document: Document
    file: str
    code_hash: str
    guesses: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an index run found at one commit, on its way into the store."""

    commit: str
    tree: str
    environment: Environment
    dags: tuple[FoundDag, ...]
    errors: tuple[ParseFailure, ...]
    codes: Mapping[str, str]
    """code hash -> the JSON that was hashed"""
    airflow: Mapping[str, str]
    """dag hash -> Airflow's own JSON"""
    parsed: int
    seconds: float


def manifest_rows(snapshot: Snapshot) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """(hash, DAG rows, error rows): equal content has an equal hash, whichever commit it is of."""
    dags = sorted(
        {
            (d.document.dag_id, d.file, d.document.dag_hash, d.code_hash, d.guesses, d.placeholders)
            for d in snapshot.dags
        }
    )
    errors = [(e.file, e.type, e.message, e.traceback) for e in snapshot.errors]
    content: list[Any] = [[list(row[:4]) for row in dags], list(map(list, errors))]
    if any(row[4] or row[5] for row in dags):  # what the exact engine finds keeps its old hash
        content.append([[list(row[4]), list(row[5])] for row in dags])
    key = document.digest(document.canonical(content))
    return (
        key,
        [
            {
                "manifest_hash": key,
                "dag_id": dag_id,
                "file": file,
                "dag_hash": dag_hash,
                "code_hash": code,
                "guesses": json.dumps(guesses),
                "placeholders": json.dumps(placeholders),
            }
            for dag_id, file, dag_hash, code, guesses, placeholders in dags
        ],
        [
            {
                "manifest_hash": key,
                "file": file,
                "position": i,
                "type": kind,
                "message": message,
                "traceback": traceback,
            }
            for i, (file, kind, message, traceback) in enumerate(errors)
        ],
    )


def environment_row(environment: Environment, now: datetime) -> dict[str, Any]:
    return {
        "id": environment.id,
        "family": environment.family,
        "engine": environment.engine,
        "airflow": environment.airflow,
        "python": environment.python,
        "providers": json.dumps(dict(environment.providers), sort_keys=True),
        "env_file": environment.env_file,
        "plugins": environment.plugins,
        "layout": environment.layout,
        "created_at": now,
    }


def repository(row: Any) -> RegisteredRepository:
    return RegisteredRepository(
        row.name, row.path, row.url, row.dags_folder, row.env_file, row.pull_requests, row.id
    )


def stored_environment(row: Any) -> StoredEnvironment:
    return StoredEnvironment(
        row.id,
        row.family,
        row.engine,
        row.airflow,
        row.python,
        row.env_file,
        row.plugins,
        row.layout,
        row.created_at,
    )


def listed(row: Any) -> ListedDag:
    return ListedDag(
        row.dag_id,
        row.file,
        row.dag_hash,
        row.code_hash,
        row.tasks,
        "",
        "",
        _words(row.guesses),
        _words(row.placeholders),
    )


def with_environment(dag: ListedDag, environment: StoredEnvironment) -> ListedDag:
    return ListedDag(
        dag.dag_id,
        dag.file,
        dag.dag_hash,
        dag.code_hash,
        dag.tasks,
        environment.id,
        environment.engine,
        dag.guesses,
        dag.placeholders,
    )


def _words(text: str) -> tuple[str, ...]:
    """A JSON array of them; nearly always it is empty."""
    return () if text == "[]" else tuple(json.loads(text))
