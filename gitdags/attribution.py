"""Which repository and commit a path was at: for runs whose DAGs came from a plain checkout."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gitdags import git
from gitdags.errors import GitdagsError
from gitdags.model import Move, RegisteredRepository, Stamp, StampSource


@dataclass(frozen=True, slots=True)
class Attribution:
    """Looks at the registered working clones of this host.

    ``moves`` gives the recorded deployments of a ref (full name, or HEAD).
    """

    repositories: Callable[[], Sequence[RegisteredRepository]]
    opened: Callable[[RegisteredRepository], git.Repository]
    moves: Callable[[RegisteredRepository, str], Sequence[Move]]

    def complete(self, events: Sequence[Stamp]) -> list[Stamp]:
        """The events, those without a commit given the one that their path was at, where it is known.

        By the deployments of HEAD, else its reflog, else the dates of its commits; how, the event's
        source then says. A checkout with changes that no commit has is marked dirty.
        """
        if all(event.commit or not event.path for event in events):
            return list(events)
        known = self.repositories()
        return [
            event if event.commit or not event.path else self._complete(event, event.path, known)
            for event in events
        ]

    def _complete(self, event: Stamp, path: str, known: Sequence[RegisteredRepository]) -> Stamp:
        repo = _holder(path, known)
        if repo is None:
            return event
        at = event.at.astimezone(UTC).isoformat()
        try:
            opened = self.opened(repo)
            found = git.resolve(
                opened,
                f"HEAD@{{{at}}}",
                moves=lambda ref: self.moves(repo, ref),
                now=datetime.now(UTC),
            )
            dirty = opened.is_dirty()
        except GitdagsError:
            return replace(
                event, repo=repo.name
            )  # without a commit it stays in doubt, which is shown
        how: StampSource = "deployment" if found.source == "deployment" else "checkout"
        return replace(event, repo=repo.name, commit=found.commit, source=how, dirty=dirty)


def _holder(path: str, known: Sequence[RegisteredRepository]) -> RegisteredRepository | None:
    """The registered repository whose folder a path lies in: the innermost of several."""
    real = Path(os.path.realpath(path))
    holders = [
        repo
        for repo in known
        if repo.url is None and real.is_relative_to(os.path.realpath(repo.path))
    ]
    return max(holders, key=lambda repo: len(repo.path), default=None)
