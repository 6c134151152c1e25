"""A commit's tree as plain files in a folder, moved from tree to tree by what differs.

Raw blobs: no attributes, line-ending or LFS filters. Read-only files (0444, 0555), links verbatim,
submodules as empty folders. Files are written before links, and only below folders made here, so
no write passes through a link that a commit put there. Code that runs in the folder may change it
all the same: `intact` tells, and `reset` starts over in a place nobody has touched.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from gitdags.git import Repository
from gitdags.model import MODE_EXECUTABLE, MODE_LINK, MODE_SUBMODULE, Change, Entry

_Stamp = tuple[int, int, int, int]
"""device's inode, mode, and times of content and of inode in ns: any write changes the last"""


class Checkout:
    """The files of one tree at a time, in a folder below ``place``, which is made.

    ``bytecode`` False leaves out ``__pycache__`` folders, whose content may stand for other
    sources than the tree's; ``public`` True lets every user read, whatever the umask.
    ``skipped`` are the paths that this file system cannot hold.
    """

    def __init__(
        self, repo: Repository, place: Path, *, bytecode: bool = True, public: bool = False
    ) -> None:
        self._repo, self._bytecode, self._public = repo, bytecode, public
        self.place, self._number = place, 0
        self.folder = place
        self._tree: str | None = None
        self._stamps: dict[bytes, _Stamp] = {}
        self.skipped: set[bytes] = set()
        self._begin()

    def _begin(self) -> None:
        self._number += 1
        self.folder = self.place / str(self._number) / "repo"
        self._root = os.fsencode(self.folder)
        self._make_folder(self._root)
        self._tree, self._stamps, self.skipped = None, {}, set()

    def move(self, tree: str) -> int:
        """Make the folder hold this tree; the number of paths that differed.

        Raises TreeTooLarge or MissingObject; the next move then begins anew.
        """
        changes = self._repo.diff(self._tree, tree)
        if not self._bytecode:
            changes = [c for c in changes if b"__pycache__" not in c.path.split(b"/")]
        try:
            for change in changes:
                if change.old is not None:
                    self._remove(change.path)
            for change in sorted(changes, key=_links_last):
                if change.new is not None:
                    self._write(change.path, change.new)
        except BaseException:
            self._discard()
            self._begin()
            raise
        self._tree = tree
        return len(changes)

    def seal(self) -> None:
        """Remember what the folder is like, for `intact`."""
        self._stamps = self._look()

    def intact(self) -> bool:
        """Whether nothing below the folder was changed, added or removed since `seal`."""
        return self._look() == self._stamps

    def reset(self, tree: str) -> None:
        """Write the tree anew, in a folder of another name: whoever changed this one keeps it."""
        self._discard()
        self._begin()
        self.move(tree)

    def _discard(self) -> None:
        # The folder itself may be a link by now; its parent is ours.
        shutil.rmtree(self.place / str(self._number), ignore_errors=True)

    def _look(self) -> dict[bytes, _Stamp]:
        found: dict[bytes, _Stamp] = {}
        stack = [self._root]
        while stack:
            path = stack.pop()
            try:
                info = os.lstat(path)
                if stat.S_ISDIR(info.st_mode):
                    stack += [os.path.join(path, name) for name in os.listdir(path)]
            except OSError:
                continue  # gone, or no folder any more: its absence tells
            found[path] = (info.st_ino, info.st_mode, info.st_mtime_ns, info.st_ctime_ns)
        return found

    def _remove(self, path: bytes) -> None:
        if path in self.skipped:
            self.skipped.discard(path)
            return
        full = os.path.join(self._root, path)
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
                os.rmdir(os.path.join(self._root, parent))
            except OSError:
                return  # not empty yet
            parent = parent.rpartition(b"/")[0]

    def _write(self, path: bytes, entry: Entry) -> None:
        full = os.path.join(self._root, path)
        data = b"" if entry.mode == MODE_SUBMODULE else self._repo.blob(entry.oid)
        if not fits(path) or (entry.mode == MODE_LINK and not can_be_target(data)):
            self.skipped.add(path)
            return
        self._make_folder(os.path.dirname(full))
        if entry.mode == MODE_SUBMODULE:
            self._make_folder(full)
            return
        if entry.mode == MODE_LINK:
            os.symlink(data, full)
            return
        mode = 0o555 if entry.mode == MODE_EXECUTABLE else 0o444
        fd = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(fd, "wb") as file:
            if self._public:
                os.fchmod(fd, mode)
            file.write(data)

    def _make_folder(self, path: bytes) -> None:
        """Make a folder and those it lies in, unless they are there."""
        try:
            os.mkdir(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_folder(os.path.dirname(path))
            os.mkdir(path)
        if self._public:
            os.chmod(path, 0o755)  # noqa: S103 on purpose; its place is as closed as before


def fits(path: bytes) -> bool:
    """Whether a path can be made: NAME_MAX for each part; PATH_MAX with room for where it lies."""
    return len(path) < 3_500 and all(len(name) <= 255 for name in path.split(b"/"))


def can_be_target(data: bytes) -> bool:
    return 0 < len(data) < 4_096 and b"\0" not in data


def _links_last(change: Change) -> bool:
    return change.new is not None and change.new.mode == MODE_LINK
