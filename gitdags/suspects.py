"""What may have broken a run: the commits since the last good one that touched what its DAG reads.

Git tells which commits lie between, also when history was rewritten in between: then those of the
good run that are gone count as undone. What each did to the DAG its documents tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from gitdags.git import Repository, display
from gitdags.model import (
    ChangeWord,
    Commit,
    Comparison,
    DagDiff,
    RunStamp,
    Runtime,
    Suspect,
    Suspicion,
)

_COMPARED = 60
"""Suspects that are parsed to see what they changed, newest first; more are listed by their files."""
_EVERYTHING = 20_000
"""Commits between two runs that are looked through."""


@dataclass(frozen=True, slots=True)
class Investigation:
    """Looks at one repository for one DAG. The callables are the catalog's.

    ``reads`` gives the paths a DAG reads at a commit, ``index`` parses commits into the store,
    ``compare`` compares the DAG at two commits, or says None where neither has it.
    """

    repo: Repository
    dag_id: str
    reads: Callable[[str], Collection[str]]
    index: Callable[[Sequence[Commit]], None]
    compare: Callable[[str, str], Comparison | None]

    def between(self, good: str, bad: str) -> tuple[list[Suspect], list[Suspect], int]:
        """(suspects, undone, commits between) of two commits, newest first."""
        self.index([self.repo.commit(good), self.repo.commit(bad)])
        read = {*self.reads(good), *self.reads(bad)}
        since = _first(self.repo.log(bad, hide=good, full=True))
        gone = _first(self.repo.log(good, hide=bad, full=True))
        return self._suspects(since, read), self._suspects(gone, read), len(since) + len(gone)

    def _suspects(self, commits: Sequence[Commit], read: Collection[str]) -> list[Suspect]:
        found = []
        for commit in commits:
            files = [display(change.path) for change in self.repo.touched(commit)]
            touched = tuple(file for file in files if file in read)
            if touched:
                found.append((commit, touched))
        close = [commit for commit, _ in found[:_COMPARED]]
        parents = [self.repo.commit(p) for c in close for p in c.parents[:1] if self.repo.has(p)]
        self.index([*parents, *close])
        compared = {commit.sha for commit in close}
        return [
            Suspect(
                commit,
                touched,
                *(self._change(commit) if commit.sha in compared else (None, None)),
            )
            for commit, touched in found
        ]

    def _change(self, commit: Commit) -> tuple[ChangeWord | None, DagDiff | None]:
        """(what a commit did to the DAG, how its document differs from before)."""
        if not commit.parents or not self.repo.has(commit.parents[0]):
            return None, None
        found = self.compare(commit.parents[0], commit.sha)
        if found is None:
            return None, None
        words: Mapping[ChangeWord, Sequence[str]] = {
            "added": found.added, "removed": found.removed, "failed": found.failed,
            "fixed": found.fixed,
        }  # fmt: skip
        word = next((word for word, dag_ids in words.items() if self.dag_id in dag_ids), None)
        diff = next((each for each in found.changed if each.dag_id == self.dag_id), None)
        if diff is not None and word is None:
            moved = (
                not diff.code_only and set(diff.attributes) == {"file"} and not diff.files_changed
            )
            word = "moved" if moved else "code" if diff.code_only else "structure"
        return word, diff


def ran_at(run: RunStamp) -> str | None:
    """The commit of a run that counts: of its last failing try, else where it was last cleared to."""
    failed = [each for each in run.tries if each.state == "failed" and each.commit]
    if failed:
        return max(failed, key=lambda each: each.stamped_at).commit
    return run.moved_to[-1] if run.moved_to else run.commit


def runtime_changes(then: RunStamp, now: RunStamp) -> dict[str, tuple[str, str]]:
    """What two runs' tries ran with beside their commit, where it differs; unknown things do not."""
    before, after = _runtime(then), _runtime(now)
    return {
        field.name: (getattr(before, field.name), getattr(after, field.name))
        for field in fields(Runtime)
        if "" != getattr(before, field.name) != getattr(after, field.name) != ""
    }


def nothing(run: RunStamp, good: RunStamp | None) -> Suspicion:
    """What is to be said where no two commits can be compared."""
    runtime = {} if good is None else runtime_changes(good, run)
    good_commit = None if good is None else good_at(good)
    return Suspicion(run, good, ran_at(run), good_commit, (), (), runtime, 0)


def good_at(run: RunStamp) -> str | None:
    """The commit at which a successful run ended well: the last it went to."""
    return run.moved_to[-1] if run.moved_to else run.commit


def _runtime(run: RunStamp) -> Runtime:
    """Of the last try that says."""
    said = [each for each in run.tries if each.runtime != Runtime()]
    return max(said, key=lambda each: each.stamped_at).runtime if said else Runtime()


def _first(commits: Iterator[Commit]) -> list[Commit]:
    return list(itertools.islice(commits, _EVERYTHING))
