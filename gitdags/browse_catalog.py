"""The questions of those who look around: folders, windows of history, one DAG's comparison, what is new.

`gitdags.catalog` is the whole. Each answer is a handful of indexed look-ups, as pages wait for it.
"""

from __future__ import annotations

import difflib
import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gitdags import annotate, diff, git
from gitdags.errors import GitdagsError, quoted, shown
from gitdags.history import History
from gitdags.listings import Listings
from gitdags.model import (
    MODE_LINK,
    Commit,
    CommitChanges,
    DagComparison,
    DagDiff,
    FolderEntry,
    Json,
    ListedDag,
    Listing,
    Log,
    RegisteredRepository,
    Resolved,
    ShownDocument,
    StoredEnvironment,
    Token,
    Version,
)
from gitdags.store import Store
from gitdags.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Indexed:
    """What the store has a commit as: the environment it is shown in, and its manifest there."""

    environment: StoredEnvironment
    manifest: str


_LOOKED_BACK = 300
"""Commits that `last_changes` goes back."""
_EMPTY: dict[str, Json] = {"tasks": [], "groups": [], "edges": []}


class NoSuchDag(GitdagsError):
    """A commit holds no DAG of that name."""

    http_status = 404


class NoSuchFile(GitdagsError):
    """A commit holds no file at that path."""

    http_status = 404


class BrowseCatalog(ABC):
    """The part of `Catalog` for looking around."""

    _store: Store

    @abstractmethod
    def opened(self, repo: RegisteredRepository) -> git.Repository: ...

    @abstractmethod
    def history(self, repo: RegisteredRepository) -> History: ...

    @abstractmethod
    def timeline(self, repo: RegisteredRepository) -> Timeline: ...

    @abstractmethod
    def commit(self, repo: RegisteredRepository, rev: str | Resolved) -> Commit: ...

    @abstractmethod
    def document_text(self, dag_hash: str) -> str: ...

    @abstractmethod
    def log(
        self,
        repo: RegisteredRepository,
        dag_id: str | None = None,
        rev: str = "HEAD",
        *,
        limit: int | None = None,
    ) -> Log: ...

    @abstractmethod
    def compare_listed(
        self, repo: RegisteredRepository, left: Listing, right: Listing, dag_id: str
    ) -> DagDiff | None: ...

    @abstractmethod
    def listings(self, repo: RegisteredRepository) -> Listings: ...

    @abstractmethod
    def _moved(
        self, repo: RegisteredRepository, a: Commit, b: Commit
    ) -> Callable[[str], str | None]: ...

    # ── files ─────────────────────────────────────────────────────────────────────────────

    def folder(
        self, repo: RegisteredRepository, path: str, rev: str | Resolved = "HEAD"
    ) -> list[FolderEntry]:
        """What a folder holds at a commit, folders first; links on the way are followed.

        Raises NoSuchFile.
        """
        opened = self.opened(repo)
        commit = self.commit(repo, rev)
        found = opened.follow(commit.tree, path.encode("utf-8", "surrogateescape"))
        if found is None or not found[1].is_tree:
            raise NoSuchFile(
                f"there is no folder {quoted(path)} at {commit.sha[:12]}",
                hint=f"git ls-tree {commit.sha[:12]}",
            )
        entries = [
            FolderEntry(
                name,
                entry,
                opened.size(entry.oid) if entry.is_file or entry.mode == MODE_LINK else None,
            )
            for name, entry in opened.tree(found[1].oid).items()
        ]
        return sorted(entries, key=lambda e: (not e.entry.is_tree, e.name))

    def line_commits(self, repo: RegisteredRepository, commit: str, path: str) -> list[Commit]:
        """The commit that each line of a file comes from. Raises NoSuchFile or GitFailed."""
        opened = self.opened(repo)
        found = opened.follow(opened.commit(commit).tree, path.encode("utf-8", "surrogateescape"))
        if found is None or not found[1].is_file:
            raise NoSuchFile(
                f"there is no file {quoted(path)} at {commit[:12]}",
                hint=f"git ls-tree -r --name-only {commit[:12]}",
            )
        return [opened.commit(sha) for sha in annotate.lines(repo.path, commit, found[0])]

    # ── DAGs ──────────────────────────────────────────────────────────────────────────────

    def indexed_at(self, repo: RegisteredRepository, rev: str | Resolved) -> Indexed | None:
        """Where the store has a commit as the settings in force ask for it; None where it has not."""
        fits = self.history(repo).fits
        for environment, manifest in self._store.located(repo, self.commit(repo, rev).sha):
            if fits(environment):
                return Indexed(environment, manifest)
        return None

    def is_indexed(self, repo: RegisteredRepository, rev: str | Resolved) -> bool:
        """Whether the store has a commit so."""
        return self.indexed_at(repo, rev) is not None

    def document_of(self, repo: RegisteredRepository, dag_hash: str) -> str:
        """The text of a document that some commit of a repository holds. Raises NoSuchDag."""
        if not self._store.holds(repo, dag_hash):
            raise NoSuchDag(
                f"no document of {repo.name} has the hash {shown(dag_hash)}",
                hint=f"gitdags -r {repo.name} ls",
            )
        return self.document_text(dag_hash)

    def documents(self, hashes: Iterable[str]) -> Mapping[str, str]:
        """hash -> text, of many."""
        return self._store.documents(hashes)

    def rows(
        self, repo: RegisteredRepository, rev: str | Resolved, indexed: Indexed, dag_id: str
    ) -> list[ListedDag]:
        """A DAG's rows at an indexed commit: one per file that defines it."""
        environment = indexed.environment
        found = [
            replace(row, environment=environment.id, engine=environment.engine)
            for row in self._store.rows_of(indexed.manifest, [dag_id])
        ]
        return found or self.listings(repo).rows(self.commit(repo, rev), rev, dag_id)

    def compare_dag(
        self, repo: RegisteredRepository, old: str, new: str, dag_id: str
    ) -> DagComparison:
        """One DAG at two indexed commits (full ids), with both documents; a side may lack it.

        Raises NoSuchDag where both do, NotIndexed.
        """
        a, b = self.commit(repo, old), self.commit(repo, new)
        moved = self._moved(repo, a, b)
        pair = self.listings(repo).pair((a, old), (b, new), moved, parse=False, only=[dag_id])
        left, right = pair.of(dag_id)
        sides: list[ShownDocument | None] = []
        for commit, listing in ((a, left), (b, right)):
            row = next((r for r in listing.dags if r.dag_id == dag_id), None)
            if row is None:
                sides.append(None)
            else:
                document = self.timeline(repo).json(row.dag_hash)
                sides.append(ShownDocument(document, row, commit.sha))
        if sides == [None, None]:
            names = self._store.dag_ids(repo)
            raise NoSuchDag(
                f"neither {a.sha[:12]} nor {b.sha[:12]} has a DAG {quoted(dag_id)}",
                hint=f"gitdags diff {a.sha[:12]} {b.sha[:12]}",
                near=difflib.get_close_matches(dag_id, names, 5),
            )
        found = self.compare_listed(repo, left, right, dag_id)
        if found is None:
            documents = [_empty_for(dag_id) if s is None else s.document for s in sides]
            found = diff.compare(*documents)
        return DagComparison(sides[0], sides[1], found, pair.notes)

    # ── history ───────────────────────────────────────────────────────────────────────────

    def changes(
        self,
        repo: RegisteredRepository,
        rev: str | Resolved,
        *,
        limit: int,
        dag_id: str | None = None,
    ) -> tuple[list[CommitChanges], str | None]:
        """(``limit`` commits along first parents and what each changed, the commit to go on from).

        With ``dag_id`` only the commits that changed it. Raises NoSuchDag for one never seen.
        """
        start = self.commit(repo, rev).sha
        if dag_id is None:
            return self.timeline(repo).window(start, limit)
        found = self.log(repo, dag_id, start, limit=limit + 1).versions
        by_commit: dict[str, list[Version]] = {}
        for version in found:
            by_commit.setdefault(version.commit.sha, []).append(version)
        each = [CommitChanges(v[0].commit, True, tuple(v)) for v in by_commit.values()]
        return each[:limit], each[limit].commit.sha if len(each) > limit else None

    def last_changes(
        self, repo: RegisteredRepository, commit: str, *, seconds: float = 0.01
    ) -> tuple[dict[str, Commit], bool]:
        """(dag_id -> the commit along first parents that brought its present state, whether all was seen).

        Looks no further back than some hundred commits, nor longer than ``seconds`` at what was never
        looked at before; what it found is remembered, so that the next call goes further.
        """
        until = time.monotonic() + seconds
        commits = list(itertools.islice(self.opened(repo).first_parents(commit), _LOOKED_BACK))
        snapshots = self.timeline(repo).snapshots(commits)
        found: dict[str, Commit] = {}
        for newer, older in itertools.pairwise(snapshots):
            if newer[1] == older[1]:
                continue
            known = self._store.known_difference(newer[1], older[1])
            if known is None:
                if time.monotonic() > until:
                    return found, False
                known = self._store.difference(newer[1], older[1])
            for dag_id in known:
                found.setdefault(dag_id, newer[0])
        if snapshots and not snapshots[-1][0].parents:
            root, manifest = snapshots[-1]
            for row in self._store.dags_of([manifest])[manifest]:
                found.setdefault(row.dag_id, root)
        return found, True

    def index_state(self, repo: RegisteredRepository) -> int:
        """A number that is another one when more of a repository is indexed."""
        return self._store.snapshot_count(repo)

    def index_lag(self, repo: RegisteredRepository) -> int:
        """Commits of the default branch past the newest indexed one, along first parents."""
        opened = self.opened(repo)
        branch = opened.default_branch()
        tip = opened.ref(branch) if branch else None
        if tip is None:
            return 0
        indexed = self._store.indexed(repo)
        behind = itertools.takewhile(lambda c: c.sha not in indexed, opened.first_parents(tip))
        return sum(1 for _ in behind)

    # ── runs ──────────────────────────────────────────────────────────────────────────────

    def runs_state(self) -> tuple[int, int]:
        """A value that is another one when more is known of runs."""
        return self._store.runs.state()

    def latest_runs(
        self, dag_ids: Collection[str], each: int = 5
    ) -> Mapping[str, Sequence[tuple[str, str]]]:
        """dag_id -> (run id, state) of its newest runs, newest first."""
        return self._store.runs.latest(dag_ids, each)

    def runs_per_document(self, dag_id: str, hashes: Collection[str]) -> Mapping[str, int]:
        """document hash -> how many runs of a DAG had it."""
        return self._store.runs.per_document(dag_id, hashes)

    # ── tokens ────────────────────────────────────────────────────────────────────────────

    def token(self, text: str) -> Token | None:
        """The access token of that text, if it opens anything."""
        return self._store.tokens.find(text)

    def has_tokens(self) -> bool:
        """Whether any access token opens something."""
        return self._store.tokens.any()

    def first_delivery(self, sender: str, delivery: str) -> bool:
        """Note a webhook's delivery; False for one that was seen before."""
        return self._store.tokens.first_delivery(sender, delivery)

    def forget_deliveries(self, before: datetime) -> None:
        """Drop what is known of webhooks before a moment."""
        self._store.tokens.forget_deliveries(before)


def _empty_for(dag_id: str) -> Json:
    return {"dag_id": dag_id, **_EMPTY}
