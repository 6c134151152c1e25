"""What commits of one repository hold, as the settings in force show it.

Shown is what an exact engine found, then the newest. Files that Airflow cannot read are shown as the
recorder has them, row by row; two commits are compared by documents of one engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gitdags.errors import GitdagsError, shown
from gitdags.history import History
from gitdags.model import (
    Commit,
    ListedDag,
    Listing,
    RegisteredRepository,
    Resolved,
    StoredEnvironment,
)
from gitdags.serialize.pool import NoAirflow
from gitdags.store import Store

Revision = str | Resolved
"""What a person typed, or what it was found to mean: then it is not looked up again."""


class NotIndexed(GitdagsError):
    """A commit is not in the store, and it was asked not to parse."""

    http_status = 404


@dataclass(frozen=True, slots=True)
class Pair:
    """The listings of two commits in environments that may be compared, and what to note of them."""

    left: Listing
    right: Listing
    recorded: tuple[Listing, Listing] | None
    """the recorder's, of the files that Airflow reads at one of the two at most"""
    notes: tuple[str, ...]

    def of(self, dag_id: str) -> tuple[Listing, Listing]:
        """The two listings that one DAG is to be compared in: of the engine that both sides share."""
        ours = [any(r.dag_id == dag_id for r in one.dags) for one in (self.left, self.right)]
        if self.recorded is None or all(ours):
            return self.left, self.right
        if any(r.dag_id == dag_id for one in self.recorded for r in one.dags):
            return self.recorded
        return self.left, self.right


class Listings:
    """The listings of one repository."""

    def __init__(self, store: Store, registered: RegisteredRepository, history: History) -> None:
        self._store, self._registered, self._history = store, registered, history

    def at(
        self, commit: Commit, rev: Revision, *, parse: bool
    ) -> tuple[Listing, StoredEnvironment]:
        """What a commit holds, and in which environment Airflow's, or the only, part of it was found.

        Rows of the recorder stand beside Airflow's for files that Airflow could not read; the errors
        of those files stay. Raises NotIndexed where ``parse`` is False and there is nothing, NoAirflow.
        """
        environment = self._environment(commit, rev, parse)
        listing = self._listing(commit, environment)
        if not environment.exact or not listing.errors:
            return listing, environment
        recorded = self._recorded(commit, parse)
        if recorded is None:
            return listing, environment
        failing = {error.file for error in listing.errors}
        ours = {(row.dag_id, row.file) for row in listing.dags}
        more = [
            row
            for row in recorded.dags
            if row.file in failing and (row.dag_id, row.file) not in ours
        ]
        rows = sorted((*listing.dags, *more), key=lambda row: (row.dag_id, row.file))
        return dataclasses.replace(listing, dags=tuple(rows)), environment

    def rows(self, commit: Commit, rev: Revision, dag_id: str) -> list[ListedDag]:
        """A DAG's rows at an indexed commit: one per file that defines it. Raises NotIndexed."""
        environment = self._environment(commit, rev, False)
        found = self._store.dag_at(self._registered, commit.sha, environment, dag_id)
        if found or not environment.exact:
            return found
        for other in self.fitting(commit):
            if not other.exact:
                rows = self._store.dag_at(self._registered, commit.sha, other, dag_id)
                failing = (
                    {e.file for e in self._listing(commit, environment).errors} if rows else ()
                )
                return [row for row in rows if row.file in failing]
        return []

    def pair(
        self,
        a: tuple[Commit, Revision],
        b: tuple[Commit, Revision],
        moved: Callable[[str], str | None],
        *,
        parse: bool,
        only: Collection[str] | None = None,
    ) -> Pair:
        """The listings of two commits that may be compared; parsed if they must be.

        Airflow's hold the DAGs of ``only``, else those that the two do not have alike. ``moved`` gives
        the path that a file of the first has in the second. Raises NotIndexed where there is no
        environment that both were parsed in.
        """
        left, right = self._shared(a, b, parse)
        old, new = self._differing((a[0], left), (b[0], right), only)
        notes = []
        if left.plugins != right.plugins:
            notes.append("the repository's plugins differ between the two")
        failing = ({e.file for e in old.errors}, {e.file for e in new.errors})
        recorded = None
        unread = len(failing[0] & failing[1])
        if left.exact and (failing[0] or failing[1]):
            listings = [self._recorded(commit, parse) for commit, _ in (a, b)]
            if listings[0] is not None and listings[1] is not None:
                recorded = _of_files(listings[0], listings[1], *failing, moved)
                files = {row.file for listing in recorded for row in listing.dags}
                if files:
                    which = _count(len(files), "file is", "files are")
                    notes.append(f"{which} compared as recorded: {left} cannot import them")
                lost = [{e.file for e in one.errors} for one in listings if one is not None]
                unread = len(failing[0] & failing[1] & (lost[0] | lost[1]))
            elif failing[0] != failing[1]:
                notes.append(
                    f"files that {left} cannot import were recorded at one commit at most: "
                    "their DAGs cannot be compared"
                )
        if unread:
            which = _count(unread, "file fails", "files fail")
            notes.append(f"{which} at both commits and cannot be compared")
        return Pair(old, new, recorded, tuple(notes))

    def fitting(self, commit: Commit) -> list[StoredEnvironment]:
        """The environments a commit was parsed in that the settings in force ask for, best first."""
        known = self._store.environments_of(self._registered, commit.sha)
        return [environment for environment in known if self._history.fits(environment)]

    # ── helpers ───────────────────────────────────────────────────────────────────────────

    def _environment(self, commit: Commit, rev: Revision, parse: bool) -> StoredEnvironment:
        """What a commit is shown in; where nothing can be parsed, any that there is."""
        fitting = self.fitting(commit)
        if fitting and (fitting[0].exact or not parse or self._history.engines[0] != "airflow"):
            return fitting[0]
        if not parse:
            raise not_indexed(rev)
        try:
            self._history.index([commit])
        except NoAirflow:
            known = self._store.environments_of(self._registered, commit.sha)
            if not known:
                raise
            return known[0]
        return self.fitting(commit)[0]

    def _recorded(self, commit: Commit, parse: bool) -> Listing | None:
        """What the recorder makes of a commit; None where it has not, and may not now."""
        for attempt in (False, True):
            for environment in self.fitting(commit):
                if not environment.exact:
                    return self._listing(commit, environment)
            if attempt or not parse or not self._history.record([commit]):
                break
        return None

    def _shared(
        self, a: tuple[Commit, Revision], b: tuple[Commit, Revision], parse: bool
    ) -> tuple[StoredEnvironment, StoredEnvironment]:
        """Environments of one family that two commits were parsed in, Airflow's first."""
        for attempt in (False, True):
            known = [self.fitting(commit) for commit, _ in (a, b)]
            pairs = [(x, y) for x in known[0] for y in known[1] if x.family == y.family]
            could_do_better = parse and not attempt and self._history.engines[0] == "airflow"
            if pairs and (pairs[0][0].exact or not could_do_better):
                return pairs[0]
            if attempt or not parse:
                break
            self._history.index([a[0]])
            self._history.index([b[0]])
        missing = next((rev for (_, rev), e in zip((a, b), known, strict=True) if not e), None)
        if missing is not None:
            raise not_indexed(missing)
        raise NotIndexed(
            f"{typed(a[1])} and {typed(b[1])} were never parsed in the same environment",
            hint=f"gitdags index {typed(a[1])} && gitdags index {typed(b[1])}",
        )

    def _differing(
        self,
        a: tuple[Commit, StoredEnvironment],
        b: tuple[Commit, StoredEnvironment],
        only: Collection[str] | None,
    ) -> tuple[Listing, Listing]:
        """Two listings without the DAGs that are the same in both; of failures all."""
        manifests = [
            self._store.manifests(self._registered, [commit.sha], [environment.id])[commit.sha][1]
            for commit, environment in (a, b)
        ]
        dag_ids = self._store.differing(*manifests) if only is None else only
        errors = self._store.errors_of(manifests)
        left, right = (
            Listing(
                self._registered.name,
                commit.sha,
                environment.id,
                tuple(
                    dataclasses.replace(row, environment=environment.id, engine=environment.engine)
                    for row in self._store.rows_of(manifest, dag_ids)
                ),
                tuple(errors[manifest]),
            )
            for (commit, environment), manifest in zip((a, b), manifests, strict=True)
        )
        return left, right

    def _listing(self, commit: Commit, environment: StoredEnvironment) -> Listing:
        listing = self._store.listing(self._registered, commit.sha, environment)
        assert listing is not None  # it is one of the commit's own environments
        return listing


def _of_files(
    old: Listing,
    new: Listing,
    failing_before: Collection[str],
    failing_after: Collection[str],
    moved: Callable[[str], str | None],
) -> tuple[Listing, Listing]:
    """The rows of files that fail on one side, whatever they are called on the other."""
    before, after = {*failing_before, *failing_after}, {*failing_after, *failing_before}
    for row in old.dags:
        if row.file not in before and failing_after and moved(row.file) in failing_after:
            before.add(row.file)
    after |= {target for file in failing_before if (target := moved(file)) is not None}
    ids = {row.dag_id for row in old.dags if row.file in before}
    ids |= {row.dag_id for row in new.dags if row.file in after}

    def only(listing: Listing) -> Listing:
        rows: tuple[ListedDag, ...] = tuple(row for row in listing.dags if row.dag_id in ids)
        return dataclasses.replace(listing, dags=rows)

    return only(old), only(new)


def _count(number: int, one: str, many: str) -> str:
    return f"1 {one}" if number == 1 else f"{number:,} {many}"


def typed(rev: Revision) -> str:
    """A revision as a person would type it."""
    return shown(rev.rev if isinstance(rev, Resolved) else rev)


def not_indexed(rev: Revision) -> NotIndexed:
    """The error that names the command."""
    return NotIndexed(f"{typed(rev)} is not indexed yet", hint=f"gitdags index {typed(rev)}")
