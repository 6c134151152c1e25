"""What the store knows of one repository along its history: ancestors, versions, blame.

Everything stays within one family of environments: what two parsers make of one file is no change.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gitdags import versions
from gitdags.git import Repository
from gitdags.model import (
    Blamed,
    Commit,
    Json,
    ListedDag,
    Log,
    RegisteredRepository,
    StoredEnvironment,
    Version,
)
from gitdags.store import Store

_PART = 500  # commits asked about at once while looking for the nearest one that has something


@dataclass(slots=True)
class _Walked:
    """What a walk through history came to, oldest first."""

    versions: list[Version] = field(default_factory=list)
    rows: list[tuple[Commit, Sequence[ListedDag]]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    unindexed: int = 0
    elsewhere: int = 0
    baseline: str | None = None
    seen: bool = False


class Timeline:
    """The indexed history of one repository."""

    def __init__(self, store: Store, repo: Repository, registered: RegisteredRepository) -> None:
        self._store, self._repo, self._registered = store, repo, registered

    # ── versions ──────────────────────────────────────────────────────────────────────────

    def log(self, start: str, dag_id: str | None, limit: int | None, full: bool) -> Log | None:
        """Versions of at most ``limit`` commits, newest first; None for a DAG never seen there."""
        commits = list(self._repo.log(start, full=full))
        walked = self._walk(commits, dag_id)
        if dag_id is not None and not walked.seen:
            return None
        # Newest commit first, and the DAGs of one commit by name.
        place = {commit.sha: i for i, commit in enumerate(commits)}
        found = sorted(walked.versions, key=lambda v: (place[v.commit.sha], v.dag_id))
        if limit is not None:
            shas = list(dict.fromkeys(version.commit.sha for version in found))[:limit]
            found = [version for version in found if version.commit.sha in set(shas)]
        return Log(
            tuple(found),
            walked.unindexed,
            walked.elsewhere,
            walked.baseline,
        )

    def blame(self, start: str, dag_id: str) -> list[Blamed]:
        """Who brought each task and edge of a DAG that was seen along first parents."""
        walked = self._walk(list(self._repo.first_parents(start)), dag_id)
        documents: list[tuple[Commit, Json]] = []
        for commit, rows in walked.rows:
            if rows:
                documents.append((commit, self.json(rows[0].dag_hash)))
            elif commit.sha not in walked.failing:
                documents.clear()  # removed here: what came back later is new
        return list(versions.blame(documents, boundary=walked.baseline is not None))

    def _walk(self, commits: Sequence[Commit], dag_id: str | None) -> _Walked:
        """Replay commits, given newest first, each against its nearest indexed first parent."""
        indexed = self._store.indexed(self._registered)
        environments = self._of_family(self._family(commits, indexed))
        manifests = self._store.manifests(
            self._registered, [commit.sha for commit in commits], environments
        )
        contents = self._contents(set(manifests.values()), dag_id)
        walk = versions.Walk(self.json, self._store.code)
        walked = _Walked()
        states: dict[str, versions.State | None] = {}
        pending, begun = 0, False  # commits without a snapshot since the last that has one
        for commit in reversed(commits):
            parent = commit.parents[0] if commit.parents else None
            before = versions.State() if parent is None else states.get(parent)
            manifest = manifests.get(commit.sha)
            if manifest is None:
                states[commit.sha] = None if parent is None else before
                if commit.sha in indexed:
                    walked.elsewhere += 1
                else:
                    pending += 1
                continue
            walked.unindexed += pending if begun else 0
            pending, begun = 0, True
            content = contents[manifest]
            state, changes = walk.step(before, commit, content)
            states[commit.sha] = state
            if before is None and walked.baseline is None:
                walked.baseline = commit.sha
            walked.versions += changes
            if dag_id is not None:
                rows = content.dags.get(dag_id, ())
                walked.seen = walked.seen or bool(rows)
                walked.rows.append((commit, rows))
                if dag_id in state.failed:
                    walked.failing.add(commit.sha)
        walked.unindexed += pending
        return walked

    def _contents(self, manifests: set[str], dag_id: str | None) -> dict[str, versions.Content]:
        dags = self._store.dags_of(manifests, dag_id)
        errors = self._store.errors_of(manifests)
        return {
            manifest: versions.Content(
                by_id(dags[manifest]), frozenset(error.file for error in errors[manifest])
            )
            for manifest in manifests
        }

    def _family(self, commits: Iterable[Commit], indexed: dict[str, list[str]]) -> str | None:
        """The family that shows most of these commits; exact engines before others, then the newest."""
        stored = self._store.environments()
        counts: dict[str, int] = {}
        newest: dict[str, tuple[bool, Any]] = {}
        for environment in stored.values():
            age = (environment.engine == "airflow", environment.created_at)
            newest[environment.family] = max(newest.get(environment.family, age), age)
        for commit in commits:
            for family in {stored[e].family for e in indexed.get(commit.sha, ())}:
                counts[family] = counts.get(family, 0) + 1
        if not counts:
            return None
        return max(counts, key=lambda f: (newest[f][0], counts[f], newest[f][1]))

    def _of_family(self, family: str | None) -> list[str]:
        return [e.id for e in self._store.environments().values() if e.family == family]

    # ── ancestors ─────────────────────────────────────────────────────────────────────────

    def last_good(
        self, commit: Commit, environment: StoredEnvironment, dag_id: str
    ) -> tuple[Commit, list[ListedDag]] | None:
        """The nearest indexed first parent that holds a DAG, and its rows there."""
        for older, rows in self._ancestors(commit, environment, dag_id):
            if rows:
                return older, rows
        return None

    def last_known(
        self, commit: Commit, environment: StoredEnvironment, files: set[str]
    ) -> dict[str, tuple[str, ...]]:
        """failing file -> the DAGs it defined at the nearest indexed first parent where it was good."""
        wanted = self._store.files_with_dags(self._registered, files) if files else set()
        if not wanted:
            return {}
        commits = [c.sha for c in self._repo.first_parents(commit.sha)]
        family = self._of_family(environment.family)
        manifests = self._store.manifests(self._registered, commits, family)
        rows = self._store.dags_of(wanted & set(manifests.values()))
        found: dict[str, tuple[str, ...]] = {}
        for sha in commits:
            here: dict[str, set[str]] = {}
            for row in rows.get(manifests.get(sha, ""), ()):
                if row.file in files:
                    here.setdefault(row.file, set()).add(row.dag_id)
            for file, dag_ids in here.items():
                found.setdefault(file, tuple(sorted(dag_ids)))
            if len(found) == len(files):
                break
        return found

    def _ancestors(
        self, commit: Commit, environment: StoredEnvironment, dag_id: str
    ) -> Iterator[tuple[Commit, list[ListedDag]]]:
        family = self._of_family(environment.family)
        commits = list(self._repo.first_parents(commit.sha))[1:]
        for at in range(0, len(commits), _PART):
            part = commits[at : at + _PART]
            manifests = self._store.manifests(self._registered, [c.sha for c in part], family)
            rows = self._store.dags_of(set(manifests.values()), dag_id)
            for older in part:
                if older.sha in manifests:
                    yield (
                        older,
                        [
                            dataclasses.replace(
                                row, environment=environment.id, engine=environment.engine
                            )
                            for row in rows[manifests[older.sha]]
                        ],
                    )

    def json(self, dag_hash: str) -> Json:
        """The document stored under a hash that some row names."""
        text = self._store.document(dag_hash)
        assert text is not None  # a foreign key holds it there
        return json.loads(text)


def by_id(rows: Iterable[ListedDag]) -> dict[str, list[ListedDag]]:
    """dag_id -> its rows: one per file that defines it."""
    found: dict[str, list[ListedDag]] = {}
    for row in rows:
        found.setdefault(row.dag_id, []).append(row)
    return found
