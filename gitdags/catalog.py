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

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from gitdags import config, diff, export, git, versions
from gitdags.errors import GitdagsError, shown
from gitdags.history import History, IndexReport, Progress, display
from gitdags.model import (
    Blamed,
    Commit,
    Comparison,
    DagDiff,
    Json,
    ListedDag,
    Listing,
    Log,
    ParseFailure,
    Ref,
    RegisteredRepository,
    Resolved,
    ShownDocument,
    StoredEnvironment,
)
from gitdags.registry import Registry
from gitdags.serialize.document import without_sources
from gitdags.store import Store


class NoSuchDag(GitdagsError):
    """A commit holds no DAG of that name."""

    http_status = 404


class NoSuchFile(GitdagsError):
    """A commit holds no file at that path."""

    http_status = 404


class NotIndexed(GitdagsError):
    """A commit is not in the store, and it was asked not to parse."""

    http_status = 404


class UpdatedRecently(GitdagsError):
    """A moving ref was indexed less than ``min_update_interval`` ago."""

    http_status = 429


class Catalog:
    """All repositories of one store. A context manager: leaving it closes the store."""

    def __init__(self, settings: config.Settings | None = None) -> None:
        self._settings = settings or config.load()
        self._store = Store(self._settings.database)
        self.registry = Registry(self._store, self._settings.home)
        self._open: dict[str, git.Repository] = {}

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
        opened = self.opened(repo)
        branch = opened.default_branch()
        tip = opened.ref(branch) if branch else None
        if tip is None:
            return self._settings
        entry = opened.find(opened.commit(tip).tree, b"pyproject.toml")
        if entry is None or not entry.is_file:
            return self._settings
        return self._settings.with_project(config.project_table(opened.blob(entry.oid)))

    def refs(self, repo: RegisteredRepository) -> list[Ref]:
        """Every ref of a repository that leads to a commit."""
        return self.opened(repo).refs()

    def resolve(self, repo: RegisteredRepository, rev: str) -> Resolved:
        """The commit that a revision means now. Raises BadRevision, ShallowHistory, MissingObject."""
        return git.resolve(self.opened(repo), rev)

    def commit(self, repo: RegisteredRepository, rev: str) -> Commit:
        """The commit that a revision means, with its author, times and message."""
        return self.opened(repo).commit(self.resolve(repo, rev).commit)

    # ── indexing ──────────────────────────────────────────────────────────────────────────

    def history(self, repo: RegisteredRepository) -> History:
        """What parses commits of a repository into the store."""
        return History(self.opened(repo), repo, self._store, self.settings(repo))

    def index(
        self,
        repo: RegisteredRepository,
        target: str = "HEAD",
        *,
        everything: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> IndexReport:
        """Parse into the store what it lacks of a revision, a range ``A..B``, or all refs.

        Raises what `resolve` and `History.index` raise, and UpdatedRecently.
        """
        opened = self.opened(repo)
        opened.require_commits()
        history = self.history(repo)
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

    def dags(self, repo: RegisteredRepository, rev: str = "HEAD", *, parse: bool = True) -> Listing:
        """The DAGs and import errors of a commit, parsed first if need be.

        Raises NotIndexed where ``parse`` is False and the commit is not in the store.
        """
        commit = self.commit(repo, rev)
        environment = self._environment(repo, commit, rev, parse)
        listing = self._store.listing(repo, commit.sha, environment)
        assert listing is not None
        known = self._last_known(repo, commit, environment, {e.file for e in listing.errors})
        errors = tuple(
            ParseFailure(e.file, e.type, e.message, e.traceback, known.get(e.file, ()))
            for e in listing.errors
        )
        return Listing(repo.name, commit.sha, environment.id, listing.dags, errors)

    def document(
        self, repo: RegisteredRepository, dag_id: str, rev: str = "HEAD", *, parse: bool = True
    ) -> ShownDocument:
        """A DAG's document at a commit; the last good one, marked so, where its file fails there.

        Raises NoSuchDag.
        """
        commit = self.commit(repo, rev)
        environment = self._environment(repo, commit, rev, parse)
        listing = self._store.listing(repo, commit.sha, environment)
        assert listing is not None
        for row in listing.dags:
            if row.dag_id == dag_id:
                return ShownDocument(self._json(row.dag_hash), row, commit.sha)
        failing = {e.file for e in listing.errors}
        for older, rows in self._ancestors(repo, commit, environment, dag_id):
            if rows:
                row = rows[0]
                if row.file in failing:
                    body = self._json(row.dag_hash)
                    return ShownDocument(body, row, commit.sha, stale_from=older.sha)
                raise NoSuchDag(
                    f"{shown(dag_id)!r} is not in {commit.sha[:12]}; it last was in "
                    f"{older.sha[:12]} ({older.subject[:50]})",
                    hint=f"gitdags show {shown(dag_id)} --at {older.sha[:12]}",
                )
        close = difflib.get_close_matches(dag_id, [row.dag_id for row in listing.dags], 1)
        raise NoSuchDag(
            f"there is no DAG {shown(dag_id)!r} at {commit.sha[:12]}",
            hint=f"gitdags show {close[0]} --at {rev}" if close else f"gitdags ls --at {rev}",
        )

    def airflow_json(self, row: ListedDag) -> Json | None:
        """Airflow's own JSON of a listed DAG, which Airflow loads back into a DAG object."""
        text = self._store.airflow_document(row.dag_hash, row.environment or None)
        return None if text is None else json.loads(text)

    def files_read(self, row: ListedDag) -> list[tuple[str, str]]:
        """(path, blob id) of every repository file that was read when a DAG was parsed."""
        return self._store.code(row.code_hash)

    def source(self, repo: RegisteredRepository, path: str, rev: str = "HEAD") -> bytes:
        """The bytes of a file at a commit, links inside the tree followed. Raises NoSuchFile."""
        opened = self.opened(repo)
        commit = self.commit(repo, rev)
        found = opened.follow(commit.tree, path.encode("utf-8", "surrogateescape"))
        if found is None or not found[1].is_file:
            raise NoSuchFile(
                f"there is no file {shown(path)!r} at {commit.sha[:12]}",
                hint=f"git ls-tree -r --name-only {commit.sha[:12]}",
            )
        return opened.blob(found[1].oid)

    def export(self, repo: RegisteredRepository, rev: str, folder: Path) -> tuple[str, int]:
        """(commit, entries) of the tree written to a new folder. Raises CannotExport."""
        opened = self.opened(repo)
        commit = self.commit(repo, rev)
        return commit.sha, export.write(opened, commit.tree, folder)

    # ── history ───────────────────────────────────────────────────────────────────────────

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
        commits = list(self.opened(repo).log(start, full=full))
        walked = self._walk(repo, commits, dag_id, full=full)
        if dag_id is not None and not walked.seen:
            known = self._store.dag_ids(repo)
            close = difflib.get_close_matches(dag_id, known, 1)
            raise NoSuchDag(
                f"no DAG {shown(dag_id)!r} was ever seen in the indexed history of {shown(rev)}",
                hint=f"gitdags log {close[0]}" if close else "gitdags index --all",
            )
        # Newest commit first, and the DAGs of one commit by name.
        place = {commit.sha: i for i, commit in enumerate(commits)}
        found = sorted(walked.versions, key=lambda v: (place[v.commit.sha], v.dag_id))
        return Log(
            tuple(found[:limit] if limit is not None else found),
            walked.unindexed,
            walked.elsewhere,
            walked.baseline,
        )

    def blame(self, repo: RegisteredRepository, dag_id: str, rev: str = "HEAD") -> list[Blamed]:
        """The commit that brought each task and edge of a DAG; raises NoSuchDag.

        Follows first parents; a commit at which the DAG fails is passed over.
        """
        self.document(repo, dag_id, rev)
        commits = list(self.opened(repo).log(self.resolve(repo, rev).commit))
        walked = self._walk(repo, commits, dag_id, full=False)
        documents: list[tuple[Commit, Json]] = []
        for commit, rows in walked.rows:
            if rows:
                documents.append((commit, self._json(rows[0].dag_hash)))
            elif documents and not walked.failed_at(commit):
                documents.clear()  # removed here: what came back later is new
        return list(versions.blame(documents, boundary=walked.baseline is not None))

    def _walk(
        self,
        repo: RegisteredRepository,
        commits: Sequence[Commit],
        dag_id: str | None,
        *,
        full: bool,
    ) -> _Walked:
        """Replay indexed commits (newest first) in one environment, oldest first."""
        family = self._family(repo, commits)
        stored = self._store.environments()
        environments = [e.id for e in stored.values() if e.family == family]
        shas = [commit.sha for commit in commits]
        manifests = self._store.manifests(repo, shas, environments)
        contents = self._contents(set(manifests.values()), dag_id)
        walk = versions.Walk(self._json, self._store.code)
        walked = _Walked()
        states: dict[str, versions.State | None] = {}
        indexed = self._store.indexed(repo)
        for commit in reversed(commits):
            parent = commit.parents[0] if commit.parents else None
            before = states.get(parent) if parent is not None else versions.State()
            manifest = manifests.get(commit.sha)
            if manifest is None:
                states[commit.sha] = before if parent in states else None
                walked.elsewhere += commit.sha in indexed
                walked.unindexed += commit.sha not in indexed
                continue
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
        if not full:  # before the oldest indexed commit nothing was to be seen
            walked.unindexed -= _leading(commits, manifests, indexed)
        return walked

    def _contents(self, manifests: set[str], dag_id: str | None) -> dict[str, versions.Content]:
        dags = self._store.dags_of(manifests, dag_id)
        errors = self._store.errors_of(manifests)
        found = {}
        for manifest in manifests:
            rows: dict[str, list[ListedDag]] = {}
            for row in dags[manifest]:
                rows.setdefault(row.dag_id, []).append(row)
            failing = frozenset(error.file for error in errors[manifest])
            found[manifest] = versions.Content(rows, failing)
        return found

    def _family(self, repo: RegisteredRepository, commits: Iterable[Commit]) -> str | None:
        """The family of environments that shows most of these commits; exact ones before others."""
        stored = self._store.environments()
        indexed = self._store.indexed(repo)
        counts: dict[str, tuple[bool, int, Any]] = {}
        for commit in commits:
            for family in {stored[e].family for e in indexed.get(commit.sha, ())}:
                exact, count, newest = counts.get(family, (False, 0, None))
                if newest is None:
                    of_family = [e for e in stored.values() if e.family == family]
                    exact = of_family[0].engine == "airflow"
                    newest = max(e.created_at for e in of_family)
                counts[family] = (exact, count + 1, newest)
        return max(counts, key=lambda f: counts[f]) if counts else None

    # ── comparing ─────────────────────────────────────────────────────────────────────────

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

        Raises NoSuchDag where a DAG is asked for that neither side has.
        """
        a, b = self.commit(repo, old), self.commit(repo, new)
        left, right, notes = self._both(repo, (a, old), (b, new), parse)
        rows_a, rows_b = _by_id(left), _by_id(right)
        failing_a = {e.file for e in left.errors}
        failing_b = {e.file for e in right.errors}
        if dag_id is not None:
            rows_a = {k: v for k, v in rows_a.items() if k == dag_id}
            rows_b = {k: v for k, v in rows_b.items() if k == dag_id}
            if not rows_a and not rows_b:
                raise NoSuchDag(
                    f"neither {a.sha[:12]} nor {b.sha[:12]} has a DAG {shown(dag_id)!r}",
                    hint=f"gitdags diff {old} {new}",
                )
        added: list[str] = []
        removed: list[str] = []
        failed: list[str] = []
        fixed: list[str] = []
        changed: list[DagDiff] = []
        for name in sorted(rows_a.keys() | rows_b.keys()):
            was, now = rows_a.get(name), rows_b.get(name)
            if was is None:
                assert now is not None
                if now[0].file not in failing_a:
                    added.append(name)
                    continue
                fixed.append(name)
                was = self._last_good(repo, a, left, name)
                if not was:
                    continue
            elif now is None:
                moved_to = self._moved(repo, a, b, was[0].file)
                fails = was[0].file in failing_b or moved_to in failing_b
                (failed if fails else removed).append(name)
                continue
            found = self._difference(was, now)
            if found is not None:
                changed.append(found)
        return Comparison(
            a.sha,
            b.sha,
            tuple(added),
            tuple(removed),
            tuple(failed),
            tuple(fixed),
            tuple(changed),
            tuple(notes),
        )

    def _difference(self, was: Sequence[ListedDag], now: Sequence[ListedDag]) -> DagDiff | None:
        old, new = was[0], now[0]
        if (old.dag_hash, old.code_hash, old.file) == (new.dag_hash, new.code_hash, new.file):
            return None
        if old.dag_hash == new.dag_hash:
            blobs = [sorted(b for _, b in self._store.code(r.code_hash)) for r in (old, new)]
            found = diff.compare(self._json(old.dag_hash), self._json(new.dag_hash))
            code_only = blobs[0] != blobs[1]
        else:
            before, after = self._json(old.dag_hash), self._json(new.dag_hash)
            found = diff.compare(before, after)
            code_only = without_sources(before) == without_sources(after)
        if old.file != new.file:
            attributes = {**found.attributes, "file": (old.file, new.file)}
            found = dataclasses.replace(found, attributes=attributes)
        return dataclasses.replace(found, code_only=code_only)

    def _both(
        self,
        repo: RegisteredRepository,
        a: tuple[Commit, str],
        b: tuple[Commit, str],
        parse: bool,
    ) -> tuple[Listing, Listing, list[str]]:
        """The listings of two commits in environments that may be compared, and what to note."""
        sides = (a, b)
        for attempt in (False, True):
            known = [self._store.environments_of(repo, commit.sha) for commit, _ in sides]
            for left in known[0]:
                for right in known[1]:
                    if left.family == right.family:
                        listings = [
                            self._store.listing(repo, a[0].sha, left),
                            self._store.listing(repo, b[0].sha, right),
                        ]
                        assert listings[0] is not None
                        assert listings[1] is not None
                        notes = []
                        if left.plugins != right.plugins:
                            notes.append("the repository's plugins differ between the two")
                        return listings[0], listings[1], notes
            if attempt or not parse:
                break
            self.history(repo).index([a[0], b[0]])
        missing = next((rev for (_, rev), e in zip(sides, known, strict=True) if not e), None)
        if missing is not None:
            raise _not_indexed(missing)
        raise NotIndexed(
            f"{shown(a[1])} and {shown(b[1])} were never parsed in the same environment",
            hint=f"gitdags index {shown(a[1])} && gitdags index {shown(b[1])}",
        )

    def _moved(self, repo: RegisteredRepository, a: Commit, b: Commit, file: str) -> str | None:
        target = self.opened(repo).rename_target(a.tree, b.tree, file.encode())
        return None if target is None else display(target)

    def _last_good(
        self, repo: RegisteredRepository, commit: Commit, listing: Listing, dag_id: str
    ) -> list[ListedDag] | None:
        environment = self._store.environments()[listing.environment]
        for _, rows in self._ancestors(repo, commit, environment, dag_id):
            if rows:
                return rows
        return None

    # ── helpers ───────────────────────────────────────────────────────────────────────────

    def _environment(
        self, repo: RegisteredRepository, commit: Commit, rev: str, parse: bool
    ) -> StoredEnvironment:
        """What a commit is shown in: an exact engine first, then the newest; parsed if it must be."""
        known = self._store.environments_of(repo, commit.sha)
        if not known:
            if not parse:
                raise _not_indexed(rev)
            self.history(repo).index([commit])
            known = self._store.environments_of(repo, commit.sha)
        return known[0]

    def _ancestors(
        self,
        repo: RegisteredRepository,
        commit: Commit,
        environment: StoredEnvironment,
        dag_id: str,
    ) -> Iterable[tuple[Commit, list[ListedDag]]]:
        """(ancestor, rows of a DAG) along first parents, newest first, where indexed."""
        family = [
            e.id for e in self._store.environments().values() if e.family == environment.family
        ]
        commits = list(self.opened(repo).first_parents(commit.sha))[1:]
        for at in range(0, len(commits), 500):
            part = commits[at : at + 500]
            manifests = self._store.manifests(repo, [c.sha for c in part], family)
            rows = self._store.dags_of(set(manifests.values()), dag_id)
            for older in part:
                if older.sha in manifests:
                    found = rows[manifests[older.sha]]
                    yield older, [_of(row, environment) for row in found]

    def _last_known(
        self,
        repo: RegisteredRepository,
        commit: Commit,
        environment: StoredEnvironment,
        files: set[str],
    ) -> dict[str, tuple[str, ...]]:
        """failing file -> the DAGs it defined at the nearest indexed first parent where it was good."""
        wanted = self._store.files_with_dags(repo, files) if files else set()
        if not wanted:
            return {}
        family = [
            e.id for e in self._store.environments().values() if e.family == environment.family
        ]
        commits = [c.sha for c in self.opened(repo).first_parents(commit.sha)]
        manifests = self._store.manifests(repo, commits, family)
        found: dict[str, tuple[str, ...]] = {}
        rows = self._store.dags_of(wanted & set(manifests.values()))
        for sha in commits:
            for row in rows.get(manifests.get(sha, ""), ()):
                if row.file in files and row.file not in found:
                    same = [r.dag_id for r in rows[manifests[sha]] if r.file == row.file]
                    found[row.file] = tuple(sorted(same))
            if len(found) == len(files):
                break
        return found

    def dag_ids(self, repo: RegisteredRepository) -> list[str]:
        """Every dag_id ever seen in a repository."""
        return self._store.dag_ids(repo)

    def _json(self, dag_hash: str) -> Json:
        text = self._store.document(dag_hash)
        assert text is not None  # a foreign key holds it there
        return json.loads(text)


class _Walked:
    """What a walk through history came to."""

    def __init__(self) -> None:
        self.versions: list[Any] = []
        self.rows: list[tuple[Commit, Sequence[ListedDag]]] = []
        self.failing: set[str] = set()
        self.unindexed = 0
        self.elsewhere = 0
        self.baseline: str | None = None
        self.seen = False

    def failed_at(self, commit: Commit) -> bool:
        """Whether the DAG walked after fails at a commit."""
        return commit.sha in self.failing


def _leading(
    commits: Sequence[Commit], manifests: dict[str, str], indexed: dict[str, list[str]]
) -> int:
    """How many of the oldest commits (at the end) come before the first indexed one."""
    count = 0
    for commit in reversed(commits):
        if commit.sha in manifests:
            return count
        count += commit.sha not in indexed
    return 0


def _by_id(listing: Listing) -> dict[str, list[ListedDag]]:
    rows: dict[str, list[ListedDag]] = {}
    for row in listing.dags:
        rows.setdefault(row.dag_id, []).append(row)
    return rows


def _of(row: ListedDag, environment: StoredEnvironment) -> ListedDag:
    return dataclasses.replace(row, environment=environment.id, engine=environment.engine)


def _not_indexed(rev: str) -> NotIndexed:
    return NotIndexed(f"{shown(rev)} is not indexed yet", hint=f"gitdags index {shown(rev)}")
