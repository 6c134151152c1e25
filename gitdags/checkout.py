"""A commit's tree as plain files in a folder, moved from tree to tree by what differs.

Raw blobs: no attributes, line-ending or LFS filters. Read-only files (0444, 0555), links verbatim,
submodules as empty folders. Files are written before links, and only below folders made here, so
no write passes through a link that a commit put there.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from gitdags.git import Repository
from gitdags.model import MODE_EXECUTABLE, MODE_LINK, MODE_SUBMODULE, Change, Entry


class Checkout:
    """The files of one tree at a time, below ``folder``, which must be empty or absent at first.

    ``bytecode`` False leaves out ``__pycache__`` folders, whose content may stand for other
    sources than the tree's.
    """

    def __init__(self, repo: Repository, folder: Path, *, bytecode: bool = True) -> None:
        self._repo, self._bytecode = repo, bytecode
        self._folder = os.fsencode(folder)
        self._tree: str | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def move(self, tree: str) -> int:
        """Make the folder hold this tree; the number of paths written or removed.

        Raises TreeTooLarge or MissingObject; the folder is then whatever was reached.
        """
        changes = self._repo.diff(self._tree, tree)
        if not self._bytecode:
            changes = [c for c in changes if b"__pycache__" not in c.path.split(b"/")]
        self._tree = None
        for change in changes:
            if change.old is not None:
                self._remove(change.path)
        for change in sorted(changes, key=_links_last):
            if change.new is not None:
                self._write(change.path, change.new)
        self._tree = tree
        return len(changes)

    def reset(self, tree: str) -> None:
        """Write the tree anew, whatever somebody did to the folder since."""
        shutil.rmtree(self._folder)
        Path(os.fsdecode(self._folder)).mkdir(parents=True)
        self._tree = None
        self.move(tree)

    def _remove(self, path: bytes) -> None:
        full = os.path.join(self._folder, path)
        try:
            if stat.S_ISDIR(os.lstat(full).st_mode):  # a submodule's place
                os.rmdir(full)
            else:
                os.unlink(full)
        except FileNotFoundError:
            return
        parent = path.rpartition(b"/")[0]
        while parent:
            try:
                os.rmdir(os.path.join(self._folder, parent))
            except OSError:
                return  # not empty yet
            parent = parent.rpartition(b"/")[0]

    def _write(self, path: bytes, entry: Entry) -> None:
        full = os.path.join(self._folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if entry.mode == MODE_SUBMODULE:
            os.mkdir(full)
            return
        data = self._repo.blob(entry.oid)
        if entry.mode == MODE_LINK:
            os.symlink(data, full)
            return
        mode = 0o555 if entry.mode == MODE_EXECUTABLE else 0o444
        fd = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(fd, "wb") as file:
            file.write(data)


def _links_last(change: Change) -> bool:
    return change.new is not None and change.new.mode == MODE_LINK
