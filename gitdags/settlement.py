"""Giving runs their documents, in the background: what a run ran at is parsed, kept alive, linked.

A run without a document is unsettled; one that cannot have any is in doubt, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gitdags import git
from gitdags.history import History
from gitdags.mirror import CannotFetch
from gitdags.model import ListedDag, RegisteredRepository, ShownDocument
from gitdags.serialize.pool import NoAirflow
from gitdags.store import Store
from gitdags.store.runs import Settled
from gitdags.trust import Untrusted

UNKNOWN_REPOSITORY, UNKNOWN_COMMIT = "unknown repository", "unknown commit"
UNKNOWN_DAG, IMPORT_ERROR = "unknown dag", "import error"
RECHECKED = (UNKNOWN_REPOSITORY, UNKNOWN_COMMIT)
"""Doubts that a repository registered or fetched since may have ended."""

_OTHER_SEED = "1"
"""Of Python's hashes, for a second parse: what depends on the order of a set differs."""


@dataclass(frozen=True, slots=True)
class Place:
    """A commit in a repository that has it."""

    repo: RegisteredRepository
    sha: str


@dataclass(slots=True)
class Settlement:
    """One round of settling. The callables are the catalog's; ``keep`` keeps commits alive."""

    store: Store
    repositories: Callable[[], Sequence[RegisteredRepository]]
    opened: Callable[[RegisteredRepository], git.Repository]
    history: Callable[[RegisteredRepository], History]
    document: Callable[[RegisteredRepository, str, str], ShownDocument | None]
    """(repository, dag_id, sha); None where there is none"""
    keep: Callable[[RegisteredRepository, Collection[str]], None]
    bring: Callable[[RegisteredRepository, str], bool]
    """get a commit from the repository's remote, where it is not here; whether it is now"""
    _known: dict[str, RegisteredRepository] = field(default_factory=dict)

    def run(self, commits: int | None = None) -> int:
        """Settle the unsettled runs of at most so many commits; how many runs were settled.

        Where no Airflow can parse a commit that is not indexed, its runs stay as they are.
        """
        self._known = {repo.name: repo for repo in self.repositories()}
        wanted: dict[tuple[str | None, str | None], set[str]] = {}
        for run in self.store.runs.unsettled():
            wanted.setdefault((run.repo, run.commit), set()).add(run.dag_id)
        for dag_id, one in self.store.runs.unsettled_tries():
            wanted.setdefault((one.repo, one.commit), set()).add(dag_id)
        doubts: list[Settled] = []
        places: dict[Place, set[str]] = {}
        asked: dict[Place, set[str | None]] = {}
        for (name, commit), dag_ids in list(wanted.items())[:commits]:
            found = self._locate(name, commit)
            if isinstance(found, Place):
                places.setdefault(found, set()).update(dag_ids)
                asked.setdefault(found, set()).add(name)
            else:
                doubts += [Settled(name, name, commit, d, None, None, found) for d in dag_ids]
        settled = self.store.runs.settle(doubts)
        for repo in {place.repo.name: place.repo for place in places}.values():
            here = {place.sha: dag_ids for place, dag_ids in places.items() if place.repo == repo}
            self.keep(repo, here.keys())
            settled += self.store.runs.settle(
                replace(one, asked=name)
                for one in list(self._documents(repo, here))
                for name in asked[Place(repo, one.commit or "")]
            )
        return settled

    def _locate(self, name: str | None, commit: str | None) -> Place | str:
        """Where a commit is, or why it cannot be said. A run may not know its repository's name."""
        if name is not None and name not in self._known:
            return UNKNOWN_REPOSITORY
        if commit is None or not git.is_sha(commit):
            return UNKNOWN_COMMIT
        for repo in [self._known[name]] if name is not None else self._known.values():
            try:
                if self.bring(repo, commit) and self.opened(repo).peel(commit) == commit:
                    return Place(repo, commit)
            except (git.NoSuchRepository, git.UnsupportedRepository, CannotFetch):
                continue  # what cannot be opened has nothing to say
        return UNKNOWN_COMMIT if name is not None else UNKNOWN_REPOSITORY

    def _documents(
        self, repo: RegisteredRepository, wanted: Mapping[str, Collection[str]]
    ) -> Iterator[Settled]:
        """What there is to link at each commit (sha -> dag_ids) of a repository; indexed at once."""
        opened, history = self.opened(repo), self.history(repo)
        try:
            history.index([opened.commit(sha) for sha in wanted])
        except (NoAirflow, Untrusted):
            indexed = self.store.indexed(repo)
            wanted = {sha: dag_ids for sha, dag_ids in wanted.items() if sha in indexed}
        except (git.TreeTooLarge, git.CorruptObject, git.MissingObject):
            pass  # a commit that cannot be parsed: `document` finds nothing in it either
        rows: dict[tuple[str, str], ListedDag] = {}
        for sha, dag_ids in wanted.items():
            for dag_id in sorted(dag_ids):
                shown = self.document(repo, dag_id, sha)
                if shown is not None and shown.stale_from is None:
                    rows[sha, dag_id] = shown.row
                    continue
                doubt = UNKNOWN_DAG if shown is None else IMPORT_ERROR
                yield Settled(None, repo.name, sha, dag_id, None, None, doubt)
        unstable = self._unstable(repo, history, rows)
        for (sha, dag_id), row in rows.items():
            shifts = (sha, dag_id) in unstable
            hashes = (row.dag_hash, row.code_hash)
            yield Settled(None, repo.name, sha, dag_id, *hashes, None, shifts)

    def _unstable(
        self,
        repo: RegisteredRepository,
        history: History,
        rows: Mapping[tuple[str, str], ListedDag],
    ) -> set[tuple[str, str]]:
        """Which of the DAGs, by (sha, dag_id), do not parse to the same bytes a second time."""
        found = set()
        unasked: dict[str, dict[str, ListedDag]] = {}
        for (sha, dag_id), row in rows.items():
            if row.engine != history.engines[0]:
                continue  # a recorder's document: the file does not import, so nothing says it shifts
            known = self.store.runs.known(repo.name, dag_id, sha)
            if known is None:
                unasked.setdefault(sha, {})[dag_id] = row
            elif known[1]:
                found.add((sha, dag_id))
        again: set[tuple[str, str, str, str]] = set()
        wanted = [
            (self.opened(repo).commit(sha), {row.file for row in of_commit.values()})
            for sha, of_commit in unasked.items()
        ]
        try:
            for commit, parsed in history.parse_each(wanted, hash_seed=_OTHER_SEED):
                for doc in parsed.documents:
                    again.add((commit.sha, parsed.file, doc.dag_id, doc.dag_hash))
        except (NoAirflow, Untrusted):
            return found  # indexed elsewhere: whether it is stable cannot be asked here
        return found | {
            (sha, dag_id)
            for sha, of_commit in unasked.items()
            for dag_id, row in of_commit.items()
            if (sha, row.file, dag_id, row.dag_hash) not in again
        }
