"""Where a bundle has its commits from, and the lightest way: a mount.

A supply knows which commit a ref means now, where a commit's tree is, and how to have it there. It
knows nothing of Airflow. What goes wrong is said in one line, with what mends it. The other two ways
are in `gitdags.airflow.stocked`, apart because they need Git.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gitdags.errors import GitdagsError, quoted, shown
from gitdags.model import is_sha

if TYPE_CHECKING:
    from gitdags.depot import Depot


_NO_NAME = re.compile(r"[~^:]|@\{")  # git-check-ref-format(1): these make an expression of it


class Unavailable(GitdagsError):
    """The files of a commit cannot be had here now."""

    def __init__(self, message: str, hint: str = "") -> None:
        # Airflow logs the text of an exception and nothing else of it.
        super().__init__(f"{message} (hint: {hint})" if hint else message, hint)


class Supply(Protocol):
    """Where a bundle has its commits from."""

    @property
    def depot(self) -> Depot | None:
        """Where the trees are kept, if that is ours to look after."""

    def latest(self, ref: str) -> tuple[str, str | None]:
        """(commit, full name of the ref, where it has one). Raises GitdagsError."""

    def folder(self, commit: str) -> Path:
        """Where the commit's tree is, or will be; looks at nothing."""

    def ready(self, commit: str) -> None:
        """See to it that the tree is there. Raises GitdagsError."""


class Mounted:
    """Commits below a mount of gitdags. Reads names and links, opens no repository and no store."""

    depot: Depot | None = None

    def __init__(self, mountpoint: Path, repo: str) -> None:
        self._mountpoint, self._repo = mountpoint, repo
        self._top = mountpoint / repo

    def latest(self, ref: str) -> tuple[str, str | None]:
        """As Supply has it."""
        if is_sha(ref):
            return ref, None
        commit = self._follow(ref)
        if commit is None:
            self._explain()
            raise Unavailable(
                f"there is no ref {quoted(ref)} in {self._repo}", hint=f"ls {self._top}"
            )
        if _NO_NAME.search(ref):
            return commit, None
        for place in ("refs/tags", "refs/heads", "refs/remotes"):
            if self._follow(f"{place}/{ref}") == commit:
                return commit, f"{place}/{ref}"
        return commit, ref if ref == "HEAD" or ref.startswith("refs/") else None

    def folder(self, commit: str) -> Path:
        """As Supply has it."""
        return self._top / commit

    def ready(self, commit: str) -> None:
        """As Supply has it."""
        if not self.folder(commit).is_dir():
            self._explain()
            raise Unavailable(
                f"{self._repo} has no commit {commit}", hint=f"gitdags -r {self._repo} fetch"
            )

    def _follow(self, name: str) -> str | None:
        try:
            commit = os.readlink(self._top / name).rpartition("/")[2]
        except OSError:
            return None
        return commit if is_sha(commit) else None

    def _explain(self) -> None:
        """Raise, saying so, where it is the mount or the repository that is missing."""
        where = shown(str(self._mountpoint), 200)
        try:
            os.stat(self._mountpoint)
            mounted = os.path.ismount(self._mountpoint)
        except FileNotFoundError:
            mounted = False
        except OSError as error:
            hint = f"gitdags umount --lazy {where}; gitdags mount {where}"
            if error.errno == errno.EACCES:
                hint = f"gitdags mount {where} --allow-other"
            elif error.errno != errno.ENOTCONN:
                hint = f"ls -ld {where}"
            raise Unavailable(
                f"the mount at {where} does not answer: {error.strerror}", hint=hint
            ) from None
        if self._top.is_dir():
            return
        if not mounted:
            raise Unavailable(f"nothing is mounted on {where}", hint=f"gitdags mount {where}")
        raise Unavailable(
            f"no repository is registered as {quoted(self._repo)}",
            hint=f"gitdags init PATH --name {shown(self._repo)}",
        )
