"""A DAG through history: at which commits it changed, and who brought each task and edge.

Pure walks over what the store holds; `gitdags.catalog` fetches it. Every commit is compared with
its nearest indexed first parent, within one environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gitdags.model import Blamed, ChangeWord, Commit, Json, ListedDag, Version
from gitdags.serialize.document import without_sources

Rows = Mapping[str, Sequence[ListedDag]]
"""dag_id -> its rows at a commit: one per file that defines it"""


@dataclass(frozen=True, slots=True)
class Content:
    """What one commit holds, as far as a walk is concerned."""

    dags: Rows
    failing: frozenset[str]
    """files that fail"""


@dataclass(frozen=True, slots=True)
class State:
    """Every DAG known up to a commit: its last good rows, and which of them fail there."""

    rows: Rows = field(default_factory=dict)
    failed: frozenset[str] = frozenset()


class Walk:
    """Replays commits, oldest first, and says at each what changed.

    ``document`` gives a stored document's JSON by hash, ``files`` the (path, blob) pairs behind a
    code hash.
    """

    def __init__(
        self,
        document: Callable[[str], Json],
        files: Callable[[str], Sequence[tuple[str, str]]],
    ) -> None:
        self._document, self._files = document, files
        self._words: dict[tuple[str, str, str, str], ChangeWord | None] = {}

    def step(
        self, before: State | None, commit: Commit, content: Content
    ) -> tuple[State, list[Version]]:
        """(state after a commit, what changed at it). Without ``before`` all is new, nothing changed."""
        state = State() if before is None else before
        rows: dict[str, Sequence[ListedDag]] = dict(content.dags)
        failed: set[str] = set()
        versions: list[Version] = []

        def say(word: ChangeWord, dag_id: str, row: ListedDag, *, gone: bool = False) -> None:
            versions.append(
                Version(
                    commit,
                    word,
                    dag_id,
                    None if gone else row.dag_hash,
                    None if gone else row.code_hash,
                    row.file,
                )
            )

        for dag_id, now in content.dags.items():
            was = state.rows.get(dag_id)
            if was is None:
                say("added", dag_id, now[0])
            elif dag_id in state.failed:
                say("fixed", dag_id, now[0])
            else:
                word = self._word(was, now)
                if word is not None:
                    say(word, dag_id, now[0])
        for dag_id, was in state.rows.items():
            if dag_id in content.dags:
                continue
            if any(row.file in content.failing for row in was):
                rows[dag_id] = was
                failed.add(dag_id)
                if dag_id not in state.failed:
                    say("failed", dag_id, was[0])
            else:
                say("removed", dag_id, was[0], gone=True)
        versions.sort(key=lambda version: version.dag_id)
        return State(rows, frozenset(failed)), versions if before is not None else []

    def _word(self, was: Sequence[ListedDag], now: Sequence[ListedDag]) -> ChangeWord | None:
        """How a DAG that is there on both sides changed; of several files', the gravest word."""
        if [(r.dag_hash, r.code_hash) for r in was] == [(r.dag_hash, r.code_hash) for r in now]:
            return None
        if len(was) != len(now):
            return "structure"
        words = {self._row_word(a, b) for a, b in zip(was, now, strict=True)}
        order: tuple[ChangeWord, ...] = ("structure", "code", "moved")
        return next((word for word in order if word in words), None)

    def _row_word(self, was: ListedDag, now: ListedDag) -> ChangeWord | None:
        key = (was.dag_hash, was.code_hash, now.dag_hash, now.code_hash)
        if key not in self._words:
            self._words[key] = self._compare(was, now)
        return self._words[key]

    def _compare(self, was: ListedDag, now: ListedDag) -> ChangeWord | None:
        if was.dag_hash != now.dag_hash:
            old, new = self._document(was.dag_hash), self._document(now.dag_hash)
            same = without_sources(old) == without_sources(new)
            return "code" if same else "structure"
        if was.code_hash == now.code_hash:
            return None
        old_blobs = sorted(blob for _, blob in self._files(was.code_hash))
        new_blobs = sorted(blob for _, blob in self._files(now.code_hash))
        return "moved" if old_blobs == new_blobs else "code"


def blame(versions: Sequence[tuple[Commit, Json]], *, boundary: bool) -> Iterator[Blamed]:
    """Who brought each task and edge of the last of these documents, oldest first.

    ``boundary``: whether history goes on before the first one. Tasks come first, then edges.
    """
    added: dict[tuple[str, ...], Commit] = {}
    changed: dict[tuple[str, ...], Commit] = {}
    before: dict[tuple[str, ...], str] = {}
    first = versions[0][0].sha
    for commit, document in versions:
        now = _parts(document)
        for name in now:
            if name not in before:
                added[name] = commit
            if before.get(name) != now[name]:
                changed[name] = commit
        before = now
    for name in sorted(before, key=lambda n: (len(n), n)):
        there = boundary and added[name].sha == first
        yield Blamed(name, added[name], changed[name], there)


def _parts(document: Json) -> dict[tuple[str, ...], str]:
    """(task id,) or (from, to) -> what it is, as text to compare."""
    parts: dict[tuple[str, ...], str] = {}
    for task in document["tasks"]:
        own = {k: v for k, v in task.items() if k not in ("upstream", "downstream")}
        parts[(task["task_id"],)] = json.dumps(own, sort_keys=True)
    for start, end, label in document["edges"]:
        parts[(start, end)] = label or ""
    return parts
