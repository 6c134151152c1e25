"""What the store knows of one repository along its history: ancestors, versions, blame.

Everything stays within one family of environments: what two parsers make of one file is no change.
Where Airflow cannot read a file, the recorder's family tells on, by documents of its own on both sides.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
    rows: list[tuple[Commit, dict[str, ListedDag]]] = field(default_factory=list)
    """(commit, engine -> the DAG's row), where one DAG was asked for"""
    failing: set[str] = field(default_factory=set)
    """commits at which that DAG fails"""
    unread: set[str] = field(default_factory=set)
    """commits at which, or at the nearest indexed one before which, some file fails"""
    states: dict[str, versions.State | None] = field(default_factory=dict)
    """what is known up to each commit; None before the first that is indexed"""
    snapshots: list[tuple[Commit, str]] = field(default_factory=list)
    """(commit, manifest hash) of those that are indexed"""
    unindexed: int = 0
    elsewhere: set[str] = field(default_factory=set)
    baseline: str | None = None
    seen: bool = False
    incomparable: int = 0
    exact: bool = True
    """whether the family is Airflow's"""

    def good(self, sha: str) -> Collection[str]:
        """The DAGs of a commit, or of the nearest indexed one before it, that do not fail there."""
        state = self.states.get(sha)
        return () if state is None else state.rows.keys() - state.failed

    def good_before(self, commit: Commit) -> Collection[str]:
        """The same of what is before a commit."""
        return self.good(commit.parents[0]) if commit.parents else ()

    def failed_before(self, commit: Commit) -> Collection[str]:
        """The DAGs that failed before a commit and had not always."""
        state = self.states.get(commit.parents[0]) if commit.parents else None
        return () if state is None else state.failed


def _merged(
    commits: Sequence[Commit], exact: _Walked, recorded: _Walked
) -> list[tuple[Commit, dict[str, ListedDag]]]:
    """The rows of both walks, oldest commit first, Airflow's before the recorder's."""
    found: dict[str, dict[str, ListedDag]] = {}
    for walked in (exact, recorded):
        for commit, rows in walked.rows:
            found.setdefault(commit.sha, {}).update(rows)
    return [(commit, found[commit.sha]) for commit in reversed(commits) if commit.sha in found]


class Timeline:
    """The indexed history of one repository."""

    def __init__(
        self,
        store: Store,
        repo: Repository,
        registered: RegisteredRepository,
        fits: Callable[[StoredEnvironment], bool],
        *,
        auto: bool = True,
    ) -> None:
        self._store, self._repo, self._registered, self._fits = store, repo, registered, fits
        self._auto = auto
        """whether the recorder is to tell what Airflow cannot"""

    # ── versions ──────────────────────────────────────────────────────────────────────────

    def log(self, start: str, dag_id: str | None, limit: int | None, full: bool) -> Log | None:
        """Versions of at most ``limit`` commits, newest first; None for a DAG never seen there."""
        commits = list(self._repo.log(start, full=full))
        walked = self._walk_engines(commits, dag_id)
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
            len(walked.elsewhere),
            walked.baseline,
            walked.incomparable,
        )

    def window(self, start: str, limit: int) -> tuple[list[CommitChanges], str | None]:
        """(the first ``limit`` commits along first parents, each with what it changed; the next one).

        Reads no further back than it must: a commit is compared with the nearest indexed one among
        the few before it.
        """
        commits = list(itertools.islice(self._repo.first_parents(start), limit + 1 + _MARGIN))
        walked = self._walk_engines(commits, None, self._touched(commits))
        shown = commits[:limit]
        asked = {commit.sha for commit in shown}
        settled = versions.settle(
            [c for c in walked.candidates if c.version.commit.sha in asked],
            self._documents,
            self._store.codes,
        )
        changes: dict[str, list[Version]] = {}
        for one in settled:
            changes.setdefault(one.commit.sha, []).append(one)
        indexed = {commit.sha for commit, _ in walked.snapshots}
        found = [CommitChanges(c, c.sha in indexed, tuple(changes.get(c.sha, ()))) for c in shown]
        return found, commits[limit].sha if len(commits) > limit else None

    def snapshots(self, commits: Sequence[Commit]) -> list[tuple[Commit, str]]:
        """(commit, manifest hash) of those that are indexed, in the order given, within one family."""
        everything = self._store.snapshots(self._registered)
        known = {c.sha: [e for e, _ in everything.get(c.sha, ())] for c in commits}
        family = set(self._of_family(self._families(commits, known)[0]))
        found = []
        for commit in commits:
            for environment, manifest in everything.get(commit.sha, ()):
                if environment in family:
                    found.append((commit, manifest))
                    break
        return found

    def blame(self, start: str, dag_id: str) -> list[Blamed]:
        """Who brought each task and edge of a DAG that was seen along first parents."""
        walked = self._walk_engines(list(self._repo.first_parents(start)), dag_id)
        documents: list[tuple[Commit, dict[str, Json]]] = []
        for commit, rows in walked.rows:
            if rows:
                found = {engine: self.json(row.dag_hash) for engine, row in rows.items()}
                documents.append((commit, found))
            elif commit.sha not in walked.failing:
                documents.clear()  # removed here: what came back later is new
        return list(versions.blame(documents, boundary=walked.baseline is not None))

    def _touched(self, commits: Sequence[Commit]) -> frozenset[str] | None:
        """The DAGs that not all of these commits have alike, in any environment; None for all of them."""
        if not commits or not commits[-1].parents:
            return None  # at the root all are new
        manifests: dict[str, list[str]] = {}
        everything = self._store.snapshots(self._registered)
        for commit in commits:
            for environment, manifest in everything.get(commit.sha, ()):
                manifests.setdefault(environment, []).append(manifest)
        found: set[str] = set()
        for each in manifests.values():
            for newer, older in itertools.pairwise(each):
                found |= self._store.differing(newer, older)
        if len(manifests) > 1:  # of one family, perhaps: then their DAGs are compared too
            for newer, older in itertools.combinations([each[0] for each in manifests.values()], 2):
                found |= self._store.differing(newer, older)
        return frozenset(found)

    def _walk_engines(
        self,
        commits: Sequence[Commit],
        dag_id: str | None,
        only: Collection[str] | None = None,
    ) -> _Walked:
        """Replay commits by Airflow's documents, and by the recorder's where Airflow lacks a side."""
        everything = self._store.snapshots(self._registered)
        indexed = {sha: [e for e, _ in found] for sha, found in everything.items()}
        family, recorded_family = self._families(commits, indexed)
        exact = self._walk(commits, dag_id, family, indexed, only)
        if not self._auto or not exact.exact or not exact.unread:
            return exact
        recorded = self._walk(commits, dag_id, recorded_family, indexed, only)
        words: dict[tuple[str, str], list[versions.Candidate | None]] = {}
        for number, walked in enumerate((exact, recorded)):
            for candidate in walked.candidates:
                version = candidate.version
                words.setdefault((version.commit.sha, version.dag_id), [None, None])[number] = (
                    candidate
                )
        candidates = []
        incomparable = 0
        for (_, name), (ours, theirs) in words.items():
            commit = (ours or theirs).version.commit  # type: ignore[union-attr]  # one is there
            sides = versions.Sides(
                name in exact.good_before(commit),
                name in exact.good(commit.sha),
                name in exact.failed_before(commit),
                name in recorded.good_before(commit),
            )
            found = versions.reconcile(ours, theirs, sides)
            if ours is not None and ours.version.change == "added" and ours is found:
                # Was it there before, in a file that Airflow could not read?
                parent = commit.parents[0] if commit.parents else ""
                if parent in exact.unread and recorded.states.get(parent) is None:
                    incomparable += 1
                    continue
            if found is not None:
                candidates.append(found)
        both = {commit.sha: i for i, commit in enumerate(commits)}
        snapshots = {c.sha: (c, m) for c, m in (*recorded.snapshots, *exact.snapshots)}
        oldest = max(
            (walked for walked in (exact, recorded) if walked.snapshots),
            key=lambda walked: both[walked.snapshots[0][0].sha],
        )
        return _Walked(
            candidates=candidates,
            rows=_merged(commits, exact, recorded),
            failing=exact.failing | recorded.failing,
            snapshots=sorted(snapshots.values(), key=lambda one: -both[one[0].sha]),
            unindexed=exact.unindexed,
            elsewhere=exact.elsewhere - {commit.sha for commit, _ in recorded.snapshots},
            baseline=oldest.baseline,
            seen=exact.seen or recorded.seen,
            incomparable=incomparable,
        )

    def _walk(
        self,
        commits: Sequence[Commit],
        dag_id: str | None,
        family: str | None,
        indexed: Mapping[str, Sequence[str]],
        only: Collection[str] | None = None,
    ) -> _Walked:
        """Replay commits, given newest first, each against its nearest indexed first parent.

        ``only``: of the DAGs no more than these.
        """
        environments = self._of_family(family)
        engine = self._store.environments()[environments[0]].engine if environments else ""
        rank = {environment: i for i, environment in enumerate(environments)}
        everything = self._store.snapshots(self._registered)
        manifests: dict[str, tuple[str, str]] = {}
        for commit in commits:  # thousands: by far the most have one snapshot
            pairs = [pair for pair in everything.get(commit.sha, ()) if pair[0] in rank]
            if pairs:
                manifests[commit.sha] = (
                    pairs[0] if len(pairs) == 1 else min(pairs, key=lambda pair: rank[pair[0]])
                )
        held = {manifest for _, manifest in manifests.values()}
        contents = self._contents(held, dag_id, only)
        walked = _Walked(exact=engine == "airflow")
        places: dict[str, Commit] = {}
        pending, begun = 0, False  # commits without a snapshot since the last that has one
        for commit in reversed(commits):
            parent = commit.parents[0] if commit.parents else None
            before = versions.State() if parent is None else walked.states.get(parent)
            place = commit if parent is None else places.get(parent, commit)
            if commit.sha not in manifests:
                walked.states[commit.sha] = None if parent is None else before
                if parent in walked.unread:
                    walked.unread.add(commit.sha)
                places[commit.sha] = place
                if commit.sha in indexed:
                    walked.elsewhere.add(commit.sha)
                else:
                    pending += 1
                continue
            walked.unindexed += pending if begun else 0
            pending, begun = 0, True
            walked.snapshots.append((commit, manifests[commit.sha][1]))
            content = contents[manifests[commit.sha][1]]
            compared = None if parent is None else manifests.get(place.sha)
            changes: list[versions.Candidate] = []
            if (
                before is not None
                and compared is not None
                and compared[1] == manifests[commit.sha][1]
            ):
                state = before  # as at most commits: nothing differs
            else:
                state, changes = versions.step(
                    before, commit, content, functools.partial(self.moved, place, commit)
                )
            walked.states[commit.sha], places[commit.sha] = state, commit
            if content.failing:
                walked.unread.add(commit.sha)
            if before is None and walked.baseline is None:
                walked.baseline = commit.sha
            walked.candidates += changes if walked.exact else map(versions.recorded, changes)
            if dag_id is not None:
                rows = content.dags.get(dag_id, ())
                walked.seen = walked.seen or bool(rows)
                walked.rows.append((commit, {engine: rows[0]} if rows else {}))
                if dag_id in state.failed:
                    walked.failing.add(commit.sha)
        walked.unindexed += pending
        return walked

    def _contents(
        self, manifests: set[str], dag_id: str | None, only: Collection[str] | None = None
    ) -> dict[str, versions.Content]:
        if only is None:
            dags = self._store.dags_of(manifests, dag_id)
        else:
            dags = {manifest: self._store.rows_of(manifest, only) for manifest in manifests}
        errors = self._store.errors_of(manifests)
        return {
            manifest: versions.Content(
                by_id(dags[manifest]), frozenset(error.file for error in errors[manifest])
            )
            for manifest in manifests
        }

    def _families(
        self, commits: Sequence[Commit], indexed: dict[str, list[str]]
    ) -> tuple[str | None, str | None]:
        """The family to walk in, and the recorder's to go to where that one is Airflow's.

        The first is the one that the newest commit is shown in, as `ls` shows it. Where that commit is
        not indexed, the one that shows most of them; always an exact engine before others, and one
        the settings in force ask for before others.
        """
        stored = self._store.environments()
        if not commits:
            return None, None
        counts: dict[str, int] = {}
        for commit in commits:
            for family in {stored[e].family for e in indexed.get(commit.sha, ())}:
                counts[family] = counts.get(family, 0) + 1
        ranks = {
            e.family: (self._fits(e), e.exact, counts[e.family], e.created_at)
            for e in reversed(stored.values())
            if e.family in counts
        }
        first = max(ranks, key=lambda family: ranks[family]) if ranks else None
        for environment in indexed.get(commits[0].sha, ()):
            if self._fits(stored[environment]):
                first = stored[environment].family
                break
        recorded = {family: rank for family, rank in ranks.items() if rank[0] and not rank[1]}
        if first is None or not ranks[first][1] or not recorded:
            return first, None
        return first, max(recorded, key=lambda family: recorded[family])

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
