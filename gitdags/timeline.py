"""What the store knows of one repository along its history: ancestors, versions, blame.

Everything stays within one family of environments: what two parsers make of one file is no change.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gitdags import versions
from gitdags.git import Repository, display
from gitdags.model import (
    Blamed,
    Commit,
    CommitChanges,
    Json,
    ListedDag,
    Log,
    RegisteredRepository,
    StoredEnvironment,
    Version,
)
from gitdags.store import Store

_MARGIN = 30  # commits before a window that are looked at for one that is indexed
_PART = 500  # commits asked about at once while looking for the nearest one that has something


@dataclass(slots=True)
class _Walked:
    """What a walk through history came to, oldest first."""

    candidates: list[versions.Candidate] = field(default_factory=list)
    rows: list[tuple[Commit, Sequence[ListedDag]]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    unindexed: int = 0
    elsewhere: int = 0
    baseline: str | None = None
    seen: bool = False


class Timeline:
    """The indexed history of one repository."""

    def __init__(
        self,
        store: Store,
        repo: Repository,
        registered: RegisteredRepository,
        fits: Callable[[StoredEnvironment], bool],
    ) -> None:
        self._store, self._repo, self._registered, self._fits = store, repo, registered, fits

    # ── versions ──────────────────────────────────────────────────────────────────────────

    def log(self, start: str, dag_id: str | None, limit: int | None, full: bool) -> Log | None:
        """Versions of at most ``limit`` commits, newest first; None for a DAG never seen there."""
        commits = list(self._repo.log(start, full=full))
        walked = self._walk(commits, dag_id)
        if dag_id is not None and not walked.seen:
            return None
        # Newest commit first, and the DAGs of one commit by name.
        place = {commit.sha: i for i, commit in enumerate(commits)}
        found = sorted(
            walked.candidates, key=lambda c: (place[c.version.commit.sha], c.version.dag_id)
        )
        if limit is not None:
            shas = set(list(dict.fromkeys(c.version.commit.sha for c in found))[:limit])
            found = [c for c in found if c.version.commit.sha in shas]
        return Log(
            tuple(versions.settle(found, self._documents, self._store.codes)),
            walked.unindexed,
            walked.elsewhere,
            walked.baseline,
        )

    def window(self, start: str, limit: int) -> tuple[list[CommitChanges], str | None]:
        """(the first ``limit`` commits along first parents, each with what it changed; the next one).

        Reads no further back than it must: a commit is compared with the nearest indexed one among
        the few before it.
        """
        commits = list(itertools.islice(self._repo.first_parents(start), limit + 1 + _MARGIN))
        shown = commits[:limit]
        asked = {commit.sha for commit in shown}
        snapshots = self.snapshots(commits)
        candidates: list[versions.Candidate] = []
        for newer, older in itertools.pairwise(snapshots):
            if newer[0].sha in asked and newer[1] != older[1]:
                candidates += self._between(newer, older)
        if snapshots and not snapshots[-1][0].parents and snapshots[-1][0].sha in asked:
            candidates += self._between(snapshots[-1], None)
        settled = versions.settle(candidates, self._documents, self._store.codes)
        changes: dict[str, list[Version]] = {}
        for one in settled:
            changes.setdefault(one.commit.sha, []).append(one)
        indexed = {commit.sha for commit, _ in snapshots}
        found = [CommitChanges(c, c.sha in indexed, tuple(changes.get(c.sha, ()))) for c in shown]
        return found, commits[limit].sha if len(commits) > limit else None

    def _between(
        self, newer: tuple[Commit, str], older: tuple[Commit, str] | None
    ) -> list[versions.Candidate]:
        """What a snapshot's commit changed since an older one; only rows that differ are read."""
        errors = self._store.errors_of({newer[1]} if older is None else {newer[1], older[1]})
        failing = frozenset(error.file for error in errors[newer[1]])
        if older is None:
            now = by_id(self._store.dags_of([newer[1]])[newer[1]])
            return versions.step(versions.State(), newer[0], versions.Content(now, failing))[1]
        dag_ids = self._store.differing(newer[1], older[1])
        now = by_id(self._store.rows_of(newer[1], dag_ids))
        was = by_id(self._store.rows_of(older[1], dag_ids))
        failed_then = {error.file for error in errors[older[1]]}
        mended = {d for d in now.keys() - was.keys() if now[d][0].file in failed_then}
        state = versions.State(was | {d: now[d] for d in mended}, frozenset(mended))
        moved = functools.partial(self.moved, older[0], newer[0])
        return versions.step(state, newer[0], versions.Content(now, failing), moved)[1]

    def snapshots(self, commits: Sequence[Commit]) -> list[tuple[Commit, str]]:
        """(commit, manifest hash) of those that are indexed, in the order given, within one family."""
        known = self._store.indexed_of(self._registered, [commit.sha for commit in commits])
        environments = self._of_family(self._family(commits, known))
        found = self._store.manifests(
            self._registered, [commit.sha for commit in commits], environments
        )
        return [(c, found[c.sha][1]) for c in commits if c.sha in found]

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
        everything = self._store.snapshots(self._registered)
        indexed = {sha: [e for e, _ in found] for sha, found in everything.items()}
        rank = {e: i for i, e in enumerate(self._of_family(self._family(commits, indexed)))}
        manifests = {
            commit.sha: min(best, key=lambda pair: rank[pair[0]])
            for commit in commits
            if (best := [p for p in everything.get(commit.sha, ()) if p[0] in rank])
        }
        contents = self._contents({manifest for _, manifest in manifests.values()}, dag_id)
        walked = _Walked()
        states: dict[str, tuple[versions.State, Commit] | None] = {}
        pending, begun = 0, False  # commits without a snapshot since the last that has one
        for commit in reversed(commits):
            parent = commit.parents[0] if commit.parents else None
            before = (versions.State(), commit) if parent is None else states.get(parent)
            if commit.sha not in manifests:
                states[commit.sha] = None if parent is None else before
                if commit.sha in indexed:
                    walked.elsewhere += 1
                else:
                    pending += 1
                continue
            walked.unindexed += pending if begun else 0
            pending, begun = 0, True
            manifest = manifests[commit.sha][1]
            if before is not None and parent is not None:
                compared = manifests.get(before[1].sha)
                if compared is not None and compared[1] == manifest:
                    states[commit.sha] = (before[0], commit)
                    continue  # as most commits: nothing differs
            content = contents[manifest]
            state, changes = versions.step(
                None if before is None else before[0],
                commit,
                content,
                functools.partial(self.moved, commit if before is None else before[1], commit),
            )
            states[commit.sha] = (state, commit)
            if before is None and walked.baseline is None:
                walked.baseline = commit.sha
            walked.candidates += changes
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

    def _family(self, commits: Sequence[Commit], indexed: dict[str, list[str]]) -> str | None:
        """The family to walk in: the one that the newest commit is shown in, as `ls` shows it.

        Where that commit is not indexed, the one that shows most of them; always an exact engine
        before others, and one the settings in force ask for before others.
        """
        stored = self._store.environments()
        if not commits:
            return None
        for environment in indexed.get(commits[0].sha, ()):
            if self._fits(stored[environment]):
                return stored[environment].family
        counts: dict[str, int] = {}
        for commit in commits:
            for family in {stored[e].family for e in indexed.get(commit.sha, ())}:
                counts[family] = counts.get(family, 0) + 1
        ranks = {
            e.family: (self._fits(e), e.engine == "airflow", counts[e.family], e.created_at)
            for e in reversed(stored.values())
            if e.family in counts
        }
        return max(ranks, key=lambda family: ranks[family]) if ranks else None

    def moved(self, old: Commit, new: Commit, file: str) -> str | None:
        """Where a file of one commit is in another, by git's rule for renames; None if nowhere."""
        if old.tree == new.tree:
            return None
        target = self._repo.rename_target(old.tree, new.tree, file.encode())
        return None if target is None else display(target)

    def _documents(self, hashes: set[str]) -> dict[str, Json]:
        return {key: json.loads(text) for key, text in self._store.documents(hashes).items()}

    def _of_family(self, family: str | None) -> list[str]:
        return [e.id for e in self._store.environments().values() if e.family == family]

    # ── ancestors ─────────────────────────────────────────────────────────────────────────

    def last_good(
        self, commit: Commit, environment: StoredEnvironment, dag_id: str
    ) -> tuple[Commit, list[ListedDag]] | None:
        """The nearest indexed first parent that holds a DAG, and its rows there."""
        family = self._of_family(environment.family)
        for older, environment_id, manifest in self._ancestors(commit, family):
            rows = self._store.dags_of([manifest], dag_id)[manifest]
            if rows:
                engine = environment.engine
                return older, [
                    dataclasses.replace(row, environment=environment_id, engine=engine)
                    for row in rows
                ]
        return None

    def fails(self, older: Commit, newer: Commit, file: str, failing: set[str]) -> bool:
        """Whether a file of an older commit, or what it was renamed to, fails at a newer one."""
        return file in failing or (bool(failing) and self.moved(older, newer, file) in failing)

    def last_known(
        self, commit: Commit, environment: StoredEnvironment, files: set[str]
    ) -> dict[str, tuple[str, ...]]:
        """failing file -> the DAGs it defined at the nearest indexed first parent where it was good."""
        found: dict[str, tuple[str, ...]] = {}
        if not files:
            return found
        family = self._of_family(environment.family)
        wanted = self._store.files_with_dags(self._registered, files)
        first = True
        for older, _, manifest in self._ancestors(commit, family):
            if not first and manifest not in wanted:
                continue
            here: dict[str, set[str]] = {}
            for row in self._store.dags_of([manifest])[manifest]:
                file: str | None = row.file
                if (
                    first
                    and file not in files
                    and self._repo.find(commit.tree, row.file.encode()) is None
                ):
                    file = self.moved(older, commit, row.file)
                if file in files:
                    here.setdefault(str(file), set()).add(row.dag_id)
            for name, dag_ids in here.items():
                found.setdefault(name, tuple(sorted(dag_ids)))
            first = False
            if len(found) == len(files) or not wanted:
                break
        return found

    def _ancestors(
        self, commit: Commit, family: Sequence[str]
    ) -> Iterator[tuple[Commit, str, str]]:
        """(ancestor, environment id, manifest) along first parents, newest first, where indexed."""
        commits = self._repo.first_parents(commit.sha)
        next(commits)
        while part := list(itertools.islice(commits, _PART)):
            found = self._store.manifests(self._registered, [c.sha for c in part], family)
            for older in part:
                if older.sha in found:
                    yield older, *found[older.sha]

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
