"""A DAG through history: at which commits it changed, and who brought each task and edge.

Pure walks over what the store holds; `gitdags.catalog` fetches it. Every commit is compared with
its nearest indexed first parent, within one environment.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gitdags.model import Blamed, ChangeWord, Commit, Json, ListedDag, Version
from gitdags.serialize.document import same_structure

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


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version whose word may still have to be found by reading documents."""

    version: Version
    pair: tuple[Sequence[ListedDag], Sequence[ListedDag]] | None = None
    """the rows before and after, where they decide between structure, code and moved"""


def step(
    before: State | None,
    commit: Commit,
    content: Content,
    moved: Callable[[str], str | None] = lambda _: None,
) -> tuple[State, list[Candidate]]:
    """(state after a commit, what changed at it). Without ``before`` all is new, nothing changed.

    ``moved`` gives the path that a file of the state before has now; asked only for the file of a
    DAG that is gone while some file fails.
    """
    state = State() if before is None else before
    rows: dict[str, Sequence[ListedDag]] = dict(content.dags)
    failed: set[str] = set()
    found: list[Candidate] = []

    def say(word: ChangeWord, row: ListedDag, pair: Any = None, *, gone: bool = False) -> None:
        dag_hash = None if gone else row.dag_hash
        code_hash = None if gone else row.code_hash
        version = Version(commit, word, row.dag_id, dag_hash, code_hash, row.file)
        found.append(Candidate(version, pair))

    for dag_id, now in content.dags.items():
        was = state.rows.get(dag_id)
        if was is None:
            say("added", now[0])
        elif dag_id in state.failed:
            say("fixed", now[0])
        elif [(r.dag_hash, r.code_hash) for r in was] != [(r.dag_hash, r.code_hash) for r in now]:
            say("structure", now[0], (was, now))
    for dag_id, was in state.rows.items():
        if dag_id in content.dags:
            continue
        file = _failing_file(was, content.failing, moved)
        if file is None:
            say("removed", was[0], gone=True)
            continue
        rows[dag_id] = [dataclasses.replace(was[0], file=file), *was[1:]]
        failed.add(dag_id)
        if dag_id not in state.failed:
            say("failed", was[0])
    found.sort(key=lambda candidate: candidate.version.dag_id)
    return State(rows, frozenset(failed)), found if before is not None else []


def _failing_file(
    was: Sequence[ListedDag], failing: frozenset[str], moved: Callable[[str], str | None]
) -> str | None:
    """The file through whose failure a DAG is gone: its own, or what its own was renamed to."""
    for row in was:
        if row.file in failing:
            return row.file
    if failing:
        for row in was:
            target = moved(row.file)
            if target in failing:
                return target
    return None


def settle(
    candidates: Sequence[Candidate],
    documents: Callable[[set[str]], Mapping[str, Json]],
    files: Callable[[set[str]], Mapping[str, Sequence[tuple[str, str]]]],
) -> list[Version]:
    """The versions with their words. What they need is asked for at once, a window at a time.

    ``documents`` gives stored documents' JSON by hash, ``files`` the (path, blob) pairs by code hash.
    """
    settled: list[Version] = []
    words: dict[tuple[str, str, str, str], ChangeWord] = {}
    for at in range(0, len(candidates), _WINDOW):
        window = candidates[at : at + _WINDOW]
        pairs = [
            (a, b)
            for candidate in window
            if candidate.pair is not None and len(candidate.pair[0]) == len(candidate.pair[1])
            for a, b in zip(*candidate.pair, strict=True)
            if _key(a, b) not in words
        ]
        differ = {row.dag_hash for a, b in pairs if a.dag_hash != b.dag_hash for row in (a, b)}
        same = {row.code_hash for a, b in pairs if a.dag_hash == b.dag_hash for row in (a, b)}
        bodies, read = documents(differ), files(same)
        for a, b in pairs:
            words[_key(a, b)] = _word(a, b, bodies, read)
        settled += [_with_word(candidate, words) for candidate in window]
    return settled


_WINDOW = 200  # versions decided at a time: about 1 MB of documents
_GRAVITY: tuple[ChangeWord, ...] = ("structure", "code", "moved")


def _key(was: ListedDag, now: ListedDag) -> tuple[str, str, str, str]:
    return (was.dag_hash, was.code_hash, now.dag_hash, now.code_hash)


def _word(
    was: ListedDag,
    now: ListedDag,
    bodies: Mapping[str, Json],
    read: Mapping[str, Sequence[tuple[str, str]]],
) -> ChangeWord:
    if was.dag_hash != now.dag_hash:
        return "code" if same_structure(bodies[was.dag_hash], bodies[now.dag_hash]) else "structure"
    blobs = [sorted(blob for _, blob in read[row.code_hash]) for row in (was, now)]
    return "moved" if blobs[0] == blobs[1] else "code"


def _with_word(
    candidate: Candidate, words: Mapping[tuple[str, str, str, str], ChangeWord]
) -> Version:
    """Of a DAG that several files define, the gravest word; another number of files is structure."""
    if candidate.pair is None or len(candidate.pair[0]) != len(candidate.pair[1]):
        return candidate.version
    keys = [_key(a, b) for a, b in zip(*candidate.pair, strict=True)]
    said = {words[key] for key in keys if key[:2] != key[2:]}
    word = next(word for word in _GRAVITY if word in said)
    return dataclasses.replace(candidate.version, change=word)


@dataclass(frozen=True, slots=True)
class Sides:
    """What is known of a DAG before and at a commit, by Airflow and by the recorder."""

    good_before: bool
    good_now: bool
    """whether Airflow reads it"""
    failed_before: bool
    """whether Airflow once read it, and did not before the commit"""
    recorded_before: bool
    """whether the recorder has it before the commit"""


def reconcile(
    exact: Candidate | None, recorded: Candidate | None, sides: Sides
) -> Candidate | None:
    """What a commit did to a DAG, of what each of two engines saw; documents of one are compared.

    Airflow's word counts. The recorder's is taken where Airflow reads the DAG's file on one side at
    most; and a DAG that Airflow only begins to read was not added then.
    """
    if exact is not None:
        came = exact.version.change == "added"
        return recorded if came and sides.recorded_before else exact
    if recorded is None or (sides.good_before and sides.good_now):
        return None
    if sides.failed_before and recorded.version.change in ("added", "failed", "fixed"):
        return None
    return recorded


def recorded(candidate: Candidate) -> Candidate:
    """The same, marked as seen by the recorder."""
    version = dataclasses.replace(candidate.version, engine="recorder")
    return dataclasses.replace(candidate, version=version)


def blame(
    versions: Sequence[tuple[Commit, Mapping[str, Json]]], *, boundary: bool
) -> Iterator[Blamed]:
    """Who brought each task and edge of the last of these documents, oldest first.

    Each commit has a document by each engine that parsed it, the first the one that is shown; two
    commits are compared by an engine they share. ``boundary``: whether history goes on before the
    first one. Tasks come first, then edges.
    """
    if not versions:
        return
    added: dict[tuple[str, ...], Commit] = {}
    changed: dict[tuple[str, ...], Commit] = {}
    before: dict[str, dict[tuple[str, ...], str]] = {}
    first = versions[0][0].sha
    for commit, documents in versions:
        now = {engine: _parts(document) for engine, document in documents.items()}
        shared = next((engine for engine in now if engine in before), None)
        old = before.get(shared or "", {})
        for name, what in now[shared or next(iter(now))].items():
            if name not in old:
                added[name] = commit
            if old.get(name) != what:
                changed[name] = commit
        for parts in now.values():  # what the other engine alone has came when it did
            for name in parts:
                added.setdefault(name, commit)
                changed.setdefault(name, commit)
        before = now
    for name in sorted(next(iter(before.values())), key=lambda n: (len(n), n)):
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
