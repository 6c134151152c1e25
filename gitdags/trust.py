"""Which commits are trusted: those that a trusted ref reaches, now.

Trust decides what a commit may cause, never what it is: whether it is parsed where there is no
sandbox, may read secrets, may have an environment built. It never parses, builds or reads files.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from gitdags.errors import GitdagsError
from gitdags.git import Repository


class Untrusted(GitdagsError):
    """A commit was to be parsed without a sandbox, and no trusted ref reaches it."""

    http_status = 403


class Trust:
    """The trusted refs of a repository as they stand when this is made; not kept for long.

    ``patterns``: names of branches, or full names of refs, ``*`` standing for any part; ``*`` alone
    trusts every ref. Without any the default branch is trusted, here and as its remote has it.
    """

    def __init__(self, repo: Repository, patterns: Sequence[str] = ()) -> None:
        self._repo = repo
        self.refs = tuple(_trusted(repo, patterns))
        """full names, sorted"""
        self._reached: set[str] | None = None

    def holds(self, sha: str) -> bool:
        """Whether a trusted ref reaches a commit."""
        if self._reached is None:
            tips = [tip for tip in map(self._repo.ref, self.refs) if tip is not None]
            if sha in tips:
                return True  # as it mostly is; walking history can wait
            self._reached = self._repo.ancestors(tips)
        return sha in self._reached

    def demand(self, sha: str, why: str) -> None:
        """Raise Untrusted unless a commit is trusted; ``why`` there is no sandbox."""
        if not self.holds(sha):
            refs = ", ".join(self.refs) or "none"
            raise Untrusted(
                f"{sha[:12]} is not parsed: there is no sandbox here ({why}), and no trusted ref "
                f"reaches it (trusted_refs: {refs})",
                hint="gitdags doctor",
            )


def _trusted(repo: Repository, patterns: Sequence[str]) -> list[str]:
    if not patterns:
        default = repo.default_branch()
        if default is None:
            return []
        branch = default.removeprefix("refs/heads/")
        both = {default, f"refs/remotes/origin/{branch}"}
        return sorted(name for name in both if repo.ref(name))
    wanted = [
        p if p == "*" or p.startswith("refs/") or p == "HEAD" else f"refs/heads/{p}"
        for p in patterns
    ]
    names = [ref.name for ref in repo.refs()]
    return sorted(name for name in names if any(fnmatchcase(name, p) for p in wanted))
