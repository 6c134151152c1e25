"""Every question about DAGs and commits, answered once: the Python API of gitdags.

    from gitdags.catalog import Catalog

    with Catalog() as catalog:
        repo = catalog.repository("sales")
        for dag in catalog.dags(repo, "main@{2025-03-01}").dags:
            print(dag.dag_id, dag.dag_hash)

Command line, pages and API render these answers and add none. Revisions are resolved here; below
only full SHAs go on. Answers are the frozen values of `gitdags.model`. A Catalog belongs to one
thread.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from gitdags import config, export, git, hooks, mirror
from gitdags.browse_catalog import BrowseCatalog, NoSuchDag, NoSuchFile
from gitdags.comparison import Comparer
from gitdags.errors import GitdagsError, quoted, shown
from gitdags.git import display
from gitdags.history import History, IndexReport, Progress
from gitdags.listings import Listings, NotIndexed, Revision, typed
from gitdags.model import (
    Blamed,
    Commit,
    Comparison,
    DagDiff,
    Deployment,
    Json,
    ListedDag,
    Listing,
    Log,
    ParseFailure,
    Ref,
    RegisteredRepository,
    Resolved,
    ShownDocument,
)
from gitdags.registry import Registry
from gitdags.run_catalog import RunCatalog
from gitdags.store import Store
from gitdags.timeline import Timeline

__all__ = ["Catalog", "NoSuchDag", "NoSuchFile", "NotIndexed", "UpdatedRecently"]


_ASK_AGAIN = 60.0  # seconds after which a remote is asked again for a commit that it did not have


class UpdatedRecently(GitdagsError):
    """A moving ref was indexed less than ``min_update_interval`` ago."""

    http_status = 429


class Catalog(RunCatalog, BrowseCatalog):
    """All repositories of one store. A context manager: leaving it closes the store."""

    def __init__(self, settings: config.Settings | None = None) -> None:
        self._settings = settings or config.load()
        self._store = Store(self._settings.database)
        self.registry = Registry(self._store, self._settings.home)
        self._open: dict[str, git.Repository] = {}
        self._asked: dict[tuple[str, str], float] = {}
        self.asks_remotes = True
        """Whether a revision may lead to asking a remote. A server that anybody asks says no."""
        self._histories: dict[RegisteredRepository, tuple[object, History]] = {}

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    # ── repositories and revisions ────────────────────────────────────────────────────────

    def repositories(self) -> list[RegisteredRepository]:
        """Every registered repository, by name."""
        return self.registry.all()

    def repository(
        self, name: str | None = None, start: Path | None = None
    ) -> RegisteredRepository:
        """The one of that name, else the one ``start`` lies in, else the only one.

        Raises UnknownRepository.
        """
        return self.registry.find(name, start)

    def opened(self, repo: RegisteredRepository) -> git.Repository:
        """The repository, open. Raises NoSuchRepository or UnsupportedRepository."""
        if repo.name not in self._open:
            memory = self._settings["tree_memory"]
            self._open[repo.name] = git.Repository(repo.path, tree_memory=memory)
        return self._open[repo.name]

    def settings(self, repo: RegisteredRepository) -> config.Settings:
        """The settings in force for a repository: its default branch's tip may set some."""
        return self.history(repo).settings

    def _settings_at(self, repo: RegisteredRepository, tip: str | None) -> config.Settings:
        if tip is None:
            return self._settings
        opened = self.opened(repo)
        entry = opened.find(opened.commit(tip).tree, b"pyproject.toml")
        if entry is None or not entry.is_file:
            return self._settings
        return self._settings.with_project(config.project_table(opened.blob(entry.oid)))

    def refs(self, repo: RegisteredRepository) -> list[Ref]:
        """Every ref of a repository that leads to a commit."""
        return self.opened(repo).refs()

    def resolve(self, repo: RegisteredRepository, rev: str) -> Resolved:
        """The commit that a revision means now. Raises BadRevision, ShallowHistory, MissingObject.

        A full id that a mirror lacks is asked for at its remote.
        """
        if self.asks_remotes and git.is_sha(rev.lower()):
            self.bring(repo, rev.lower())
        return git.resolve(self.opened(repo), rev, moves=lambda ref: self.moves(repo, ref))

    def bring(self, repo: RegisteredRepository, sha: str) -> bool:
        """Get a commit that a mirror lacks from its remote, else from `server`; whether it is here now.

        What could not be had is not asked for again for a minute. Raises CannotFetch for a bad `server`.
        """
        opened = self.opened(repo)
        if opened.peel(sha) is not None:
            return True
        asked = self._asked.get((repo.name, sha))
        if repo.url is None or (asked is not None and time.monotonic() - asked < _ASK_AGAIN):
            return False
        if len(self._asked) > 1_000:
            self._asked.clear()
        self._asked[repo.name, sha] = time.monotonic()
        where, token = self._settings["server"], self._settings["token"]
        server = mirror.Server(where, repo.name, token) if where else None
        found = mirror.fetch_commit(Path(repo.path), sha, server)
        if found:  # libgit2 may not look for new packs by itself
            del self._open[repo.name]
        return found

    def fetch(
        self,
        repo: RegisteredRepository,
        progress: Callable[[str], None] | None = None,
        *,
        by: str | None = None,
        source: str = "fetch",
    ) -> list[tuple[str, str | None, str | None]]:
        """Bring a repository up to date; (full ref name, old, new) of every ref that moved.

        Branches and tags that moved are deployments, made ``by`` somebody (whoever this is), and their
        commits are kept. ``source``: fetch, or webhook. Raises CannotFetch, GitFailed, StoreUnavailable.
        """
        found = self.registry.fetch(repo, progress)
        moved = [move for move in found if hooks.matters(move[0])]
        if moved:
            self._keep(repo, {sha for _, *ends in moved for sha in ends if sha is not None})
            now, who = datetime.now(UTC), by or hooks.identity(Path(repo.path))
            self.record([Deployment(repo.name, *move, now, who, source) for move in moved])
        return found

    def commit(self, repo: RegisteredRepository, rev: Revision) -> Commit:
        """The commit that a revision means, with its author, times and message."""
        sha = rev.commit if isinstance(rev, Resolved) else self.resolve(repo, rev).commit
        return self.opened(repo).commit(sha)

    # ── indexing ──────────────────────────────────────────────────────────────────────────

    def history(self, repo: RegisteredRepository) -> History:
        """What parses commits of a repository into the store; made anew when its settings may differ."""
        opened = self.opened(repo)
        branch = opened.default_branch()
        tip = opened.ref(branch) if branch else None
        state = tip, _changed(repo.env_file)
        known = self._histories.get(repo)
        if known is None or known[0] != state:
            made = History(opened, repo, self._store, self._settings_at(repo, tip))
            known = self._histories[repo] = (state, made)
        return known[1]

    def listings(self, repo: RegisteredRepository) -> Listings:
        """What commits of a repository hold, as the settings in force show it."""
        return Listings(self._store, repo, self.history(repo))

    def index(
        self,
        repo: RegisteredRepository,
        target: str = "HEAD",
        *,
        everything: bool = False,
        progress: Callable[[Progress], None] | None = None,
        files: Callable[[int, int], None] | None = None,
    ) -> IndexReport:
        """Parse into the store what it lacks of a revision, a range ``A..B``, or all refs.

        ``files`` hears how many files of the commit in work are parsed, and of how many. Raises
        what `resolve` and `History.index` raise, and UpdatedRecently.
        """
        opened = self.opened(repo)
        opened.require_commits()
        history = self.history(repo)
        history.heard = files
        if everything:
            return history.index(self._all_commits(opened), progress)
        ends = git.split_range(target)
        if ends is not None:
            old, new = (self.resolve(repo, end).commit for end in ends)
            found = list(opened.log(new, hide=old, full=True))
            return history.index(found[::-1], progress)
        resolved = self.resolve(repo, target)
        commit = opened.commit(resolved.commit)
        interval = self._settings["min_update_interval"]
        if interval and resolved.ref is not None and history.missing([commit]):
            last = self._store.ref_updated(repo, resolved.ref)
            self._refuse_early(resolved.ref, last, interval)
        report = history.index([commit], progress)
        if interval and resolved.ref is not None:
            self._store.update_ref(repo, resolved.ref, commit.sha)
        return report

    def _refuse_early(self, ref: str, last: Any, interval: float) -> None:
        if last is None:
            return
        passed = (datetime.now(UTC) - last[1]).total_seconds()
        if passed < interval:
            raise UpdatedRecently(
                f"{ref} was indexed {passed:.0f} s ago, and is at most every {interval:g} s "
                "(min_update_interval)",
                hint=f"gitdags -c min_update_interval=0 index {ref}",
            )

    @staticmethod
    def _all_commits(opened: git.Repository) -> list[Commit]:
        """Every commit that a branch, tag or other ref reaches, oldest first."""
        seen: dict[str, Commit] = {}
        for tip in sorted({ref.commit for ref in opened.refs()}):
            if tip in seen:
                continue
            for commit in opened.log(tip, full=True):
                seen.setdefault(commit.sha, commit)
        return sorted(seen.values(), key=lambda c: (c.committed_at, c.sha))

    # ── DAGs at a commit ──────────────────────────────────────────────────────────────────

    def dags(
        self, repo: RegisteredRepository, rev: Revision = "HEAD", *, parse: bool = True
    ) -> Listing:
        """The DAGs and import errors of a commit, parsed first if need be.

        Raises NotIndexed where ``parse`` is False and the commit is not in the store.
        """
        commit = self.commit(repo, rev)
        listing, environment = self.listings(repo).at(commit, rev, parse=parse)
        files = {e.file for e in listing.errors}
        known = self.timeline(repo).last_known(commit, environment, files)
        errors = tuple(
            ParseFailure(e.file, e.type, e.message, e.traceback, known.get(e.file, ()))
            for e in listing.errors
        )
        return Listing(repo.name, commit.sha, environment.id, listing.dags, errors)

    def document(
        self, repo: RegisteredRepository, dag_id: str, rev: Revision = "HEAD", *, parse: bool = True
    ) -> ShownDocument:
        """A DAG's document at a commit; the last good one, marked so, where its file fails there.

        Raises NoSuchDag.
        """
        commit = self.commit(repo, rev)
        if not parse:  # by far the most are asked for where they are; then one row is enough
            for row in self.listings(repo).rows(commit, rev, dag_id):
                return ShownDocument(self.timeline(repo).json(row.dag_hash), row, commit.sha)
        listing, environment = self.listings(repo).at(commit, rev, parse=parse)
        for row in listing.dags:
            if row.dag_id == dag_id:
                body = self.timeline(repo).json(row.dag_hash)
                return ShownDocument(body, row, commit.sha)
        failing = {e.file for e in listing.errors}
        last = self.timeline(repo).last_good(commit, environment, dag_id)
        if last is not None:
            older, rows = last
            if self.timeline(repo).fails(older, commit, rows[0].file, failing):
                body = self.timeline(repo).json(rows[0].dag_hash)
                return ShownDocument(body, rows[0], commit.sha, stale_from=older.sha)
            raise NoSuchDag(
                f"{quoted(dag_id)} is not in {commit.sha[:12]}; it last was in "
                f"{older.sha[:12]} ({shown(older.subject, 50)})",
                hint=f"gitdags show {shown(dag_id)} --at {older.sha[:12]}",
            )
        names = sorted({row.dag_id for row in listing.dags})
        close = difflib.get_close_matches(dag_id, names, 5)
        raise NoSuchDag(
            f"there is no DAG {quoted(dag_id)} at {commit.sha[:12]}",
            hint=f"gitdags show {close[0]} --at {typed(rev)}"
            if close
            else f"gitdags ls --at {typed(rev)}",
            near=close,
        )

    def find_document(
        self, repo: RegisteredRepository, dag_id: str, sha: str
    ) -> ShownDocument | None:
        """As `document` at a full SHA, of what is indexed; None where there is none."""
        try:
            commit = self.opened(repo).commit(sha)
            resolved = Resolved(sha, commit.sha, "object")
            return self.document(repo, dag_id, resolved, parse=False)
        except (NoSuchDag, NotIndexed, git.MissingObject):
            return None

    def document_text(self, dag_hash: str) -> str:
        """Exactly what was hashed: RFC 8785 text. Raises NoSuchDag for an unknown hash."""
        text = self._store.document(dag_hash)
        if text is None:
            raise NoSuchDag(f"no document has the hash {shown(dag_hash)}", hint="gitdags ls")
        return text

    def airflow_json(self, row: ListedDag) -> Json | None:
        """Airflow's own JSON of a listed DAG, which Airflow loads back into a DAG object."""
        text = self._store.airflow_document(row.dag_hash, row.environment or None)
        return None if text is None else json.loads(text)

    def files_read(self, row: ListedDag) -> list[tuple[str, str]]:
        """(path, blob id) of every repository file that was read when a DAG was parsed."""
        return self._store.code(row.code_hash)

    def source(self, repo: RegisteredRepository, path: str, rev: Revision = "HEAD") -> bytes:
        """The bytes of a file at a commit, links inside the tree followed. Raises NoSuchFile."""
        opened = self.opened(repo)
        commit = self.commit(repo, rev)
        found = opened.follow(commit.tree, path.encode("utf-8", "surrogateescape"))
        if found is None or not found[1].is_file:
            raise NoSuchFile(
                f"there is no file {quoted(path)} at {commit.sha[:12]}",
                hint=f"git ls-tree -r --name-only {commit.sha[:12]}",
            )
        return opened.blob(found[1].oid)

    def export(
        self, repo: RegisteredRepository, rev: Revision, folder: Path
    ) -> tuple[str, int, list[str]]:
        """(commit, files written, paths left out) of the tree put in a new folder.

        Raises CannotExport.
        """
        commit = self.commit(repo, rev)
        written, left_out = export.write(self.opened(repo), commit.tree, folder)
        return commit.sha, written, [display(path) for path in left_out]

    def left_out(self, repo: RegisteredRepository, rev: Revision) -> list[str]:
        """The paths of a commit that are not shown anywhere: names no file system may see."""
        tree = self.commit(repo, rev).tree
        return [display(path) for path in self.opened(repo).dropped(tree)]

    # ── history ───────────────────────────────────────────────────────────────────────────

    def timeline(self, repo: RegisteredRepository) -> Timeline:
        """What the store knows along a repository's history."""
        history = self.history(repo)
        auto = history.settings["engine"] == "auto"
        return Timeline(self._store, self.opened(repo), repo, history.fits, auto=auto)

    def log(
        self,
        repo: RegisteredRepository,
        dag_id: str | None = None,
        rev: str = "HEAD",
        *,
        limit: int | None = None,
        full: bool = False,
    ) -> Log:
        """At which commits DAGs changed, or one DAG did, newest first, of what is indexed.

        ``full``: every ancestor, each compared with its first parent. Raises NoSuchDag for a DAG
        never seen.
        """
        start = self.resolve(repo, rev).commit
        found = self.timeline(repo).log(start, dag_id, limit, full)
        if found is None:
            close = difflib.get_close_matches(dag_id or "", self.dag_ids(repo), 5)
            raise NoSuchDag(
                f"no DAG {quoted(dag_id or '')} was ever seen in the indexed history of {shown(rev)}",
                hint=f"gitdags log {close[0]}" if close else "gitdags index --all",
                near=close,
            )
        return found

    def blame(self, repo: RegisteredRepository, dag_id: str, rev: str = "HEAD") -> list[Blamed]:
        """The commit that brought each task and edge of a DAG; raises NoSuchDag.

        Follows first parents; a commit at which the DAG fails is passed over.
        """
        at = self.document(repo, dag_id, rev).commit
        return self.timeline(repo).blame(at, dag_id)

    def compare(
        self,
        repo: RegisteredRepository,
        old: str,
        new: str,
        dag_id: str | None = None,
        *,
        parse: bool = True,
    ) -> Comparison:
        """What differs between the DAGs of two commits, in an environment both were parsed in.

        Raises NoSuchDag where a DAG is asked for that neither side has, NotIndexed where there is
        no such environment.
        """
        a, b = self.commit(repo, old), self.commit(repo, new)
        pair = self.listings(repo).pair(
            (a, old),
            (b, new),
            self._moved(repo, a, b),
            parse=parse,
            only=None if dag_id is None else [dag_id],
        )
        every = (pair.left, pair.right, *(pair.recorded or ()))
        if dag_id is not None and not any(r.dag_id == dag_id for one in every for r in one.dags):
            raise NoSuchDag(
                f"neither {a.sha[:12]} nor {b.sha[:12]} has a DAG {quoted(dag_id)}",
                hint=f"gitdags diff {shown(old)} {shown(new)}",
            )
        comparer = self._comparer(repo, pair.left, a, b)
        return comparer.compare(pair.left, pair.right, dag_id, pair.notes, pair.recorded)

    def compare_listed(
        self, repo: RegisteredRepository, left: Listing, right: Listing, dag_id: str
    ) -> DagDiff | None:
        """What differs in one DAG of two listings; None where nothing does, or a side lacks it."""
        opened = self.opened(repo)
        a, b = opened.commit(left.commit), opened.commit(right.commit)
        found = self._comparer(repo, left, a, b).compare(left, right, dag_id)
        return found.changed[0] if found.changed else None

    def _moved(
        self, repo: RegisteredRepository, a: Commit, b: Commit
    ) -> Callable[[str], str | None]:
        return functools.partial(self.timeline(repo).moved, a, b)

    def _comparer(
        self, repo: RegisteredRepository, left: Listing, a: Commit, b: Commit
    ) -> Comparer:
        timeline = self.timeline(repo)

        def last_good(name: str) -> Sequence[ListedDag] | None:
            environment = self._store.environments()[left.environment]
            found = timeline.last_good(a, environment, name)
            return None if found is None else found[1]

        return Comparer(timeline.json, self._store.code, self._moved(repo, a, b), last_good)

    def find_comparison(
        self, repo: RegisteredRepository, old: str, new: str, dag_id: str
    ) -> Comparison | None:
        """As `compare` of one DAG at two full SHAs, of what is indexed; None where there is none."""
        try:
            return self.compare(repo, old, new, dag_id, parse=False)
        except (NoSuchDag, NotIndexed):
            return None

    def collect_garbage(self, *, dry: bool = False) -> dict[str, int]:
        """Remove from the store what nothing refers to; rows by table. ``dry``: only count them.

        Commits that their repository does not have any more go first, but for those of stamped runs.
        A repository that cannot be opened just now loses nothing.
        """
        gone: dict[int, set[str]] = {}
        for repo in self.repositories():
            try:
                opened = self.opened(repo)
            except (git.NoSuchRepository, git.UnsupportedRepository):
                continue
            stored = self._store.garbage.commits(repo.id)
            gone[repo.id] = {sha for sha in stored if not opened.has(sha)}
        return self._store.garbage.collect(gone, dry=dry)

    def counts(self) -> dict[str, int]:
        """How many repositories, documents, manifests and snapshots the store holds."""
        return self._store.counts()

    def dag_ids(self, repo: RegisteredRepository) -> list[str]:
        """Every dag_id ever seen in a repository."""
        return self._store.dag_ids(repo)


def _changed(file: str | None) -> tuple[int, int, int] | None:
    """What of a file is another when its content is."""
    try:
        info = os.stat(file or "")
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns
