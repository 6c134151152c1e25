"""A depot: the trees of commits as plain files, every blob once, for hosts without FUSE.

    DEPOT/files/ab/cdef…    a blob, mode 0444; ending in .x the same, mode 0555
    DEPOT/trees/COMMIT/     the commit's tree: hard links to those files, folders of mode 0555
    DEPOT/lists/COMMIT      what belongs in that tree; its mtime is when the tree was last asked for
    DEPOT/aside/            what is being written; it is renamed into place when it is whole
    DEPOT/locks/            flocks, by commit; ``all``: shared by who adds, exclusive to `gc`

A file's mtime is a function of its blob, so that bytecode made of one blob is never taken for that of
another (as in the mount). Before a tree is handed out, mode, size and mtime of everything in it are
compared with its list; what differs is put right from the depot's source. That finds what a task
did to its code by mistake; it does not keep out who sets an mtime back on purpose.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from gitdags.checkout import can_be_target, fits
from gitdags.errors import GitdagsError
from gitdags.git import Repository
from gitdags.model import MODE_EXECUTABLE, MODE_LINK, MODE_SUBMODULE

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FIRST_TIME = 1_000_000_000  # 2001-09-09, as in the mount
_OPEN, _CLOSED = 0o755, 0o555  # folders: while they are changed, and for everybody else
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV}


class DepotUnusable(GitdagsError):
    """A depot belongs to another user, or its disk refuses."""


class Item(NamedTuple):
    """One path of a tree: a file, a link or the empty folder of a submodule."""

    path: bytes
    mode: int
    """as Git has it"""
    oid: str
    size: int


class Stock(Protocol):
    """Where a depot gets a commit's files."""

    def fill(self, depot: Depot) -> Sequence[Item]:
        """See to it that every blob of the commit is in the depot; what belongs in its tree."""


class Depot:
    """A folder of trees that share their files. Any number of processes of its one owner may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = os.fsencode(folder / "files")

    # ── trees ─────────────────────────────────────────────────────────────────────────────

    def tree(self, commit: str, stock: Stock) -> Path:
        """The folder of a commit's tree, whole: checked, and made or mended from ``stock`` if need be.

        Raises DepotUnusable, and what the stock raises; then nothing half-made is in place.
        """
        if not _COMMIT.fullmatch(commit):
            raise DepotUnusable(f"{commit!r} is no commit's full id", hint="git rev-parse HEAD")
        try:
            if self.faults(commit) == [] and self._touch(commit):
                return self._tree(commit)
            self._claim()
            with self._locked("all", fcntl.LOCK_SH), self._locked(commit, fcntl.LOCK_EX):
                if self.faults(commit) != []:  # nobody was quicker
                    self._make(commit, stock.fill(self))
                self._touch(commit)
        except OSError as error:
            raise DepotUnusable(
                f"cannot write {error.filename or self.folder}: {error.strerror}",
                hint=f"df -h {self.folder}; ls -ld {self.folder}",
            ) from None
        return self._tree(commit)

    def faults(self, commit: str) -> list[bytes] | None:
        """Paths of a tree that are not as they should be, sorted; None where there is no whole tree."""
        items = self._listed(commit)
        return None if items is None else sorted(self._differing(commit, items))

    def commits(self) -> list[str]:
        """The commits whose trees are here."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(n for n in os.listdir(self.folder / "trees") if _COMMIT.fullmatch(n))
        return []

    def gc(self, held: Collection[str], *, unused: float = 3600.0, dry: bool = False) -> list[str]:
        """Remove trees nobody holds or has asked for in ``unused`` seconds, and files of no tree.

        The commits removed. ``dry``: those that would be. Raises DepotUnusable.
        """
        gone: list[str] = []
        if not self.folder.is_dir():
            return gone
        try:
            self._claim()
            with self._locked("all", fcntl.LOCK_EX):
                for commit in self.commits():
                    if commit in held or time.time() - self._asked(commit) < unused:
                        continue
                    if dry or self._remove(commit, unused):
                        gone.append(commit)
                if not dry:
                    self._sweep()
        except OSError as error:
            raise DepotUnusable(
                f"cannot clear {error.filename or self.folder}: {error.strerror}",
                hint=f"ls -ld {self.folder}",
            ) from None
        return gone

    # ── blobs ─────────────────────────────────────────────────────────────────────────────

    def has(self, item: Item) -> bool:
        """Whether a file's blob is here, unspoilt."""
        try:
            return _file_fault(os.lstat(self._stored(item)), item) is None
        except FileNotFoundError:
            return False

    def put(self, item: Item, data: bytes) -> None:
        """Keep a file's bytes, which the caller has found to be those of its blob."""
        stored = self._stored(item)
        aside = self._write(item, data)
        try:
            os.rename(aside, stored)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(stored), exist_ok=True)
            os.rename(aside, stored)

    # ── making and mending ────────────────────────────────────────────────────────────────

    def _make(self, commit: str, items: Sequence[Item]) -> None:
        place = os.fsencode(self._tree(commit))
        if os.path.isdir(place):
            for path in sorted(self._differing(commit, items)):
                _remove_path(place, path)
            self._lay(place, items)
        else:
            aside = self._aside(commit)
            try:
                self._lay(aside, items)
                os.rename(aside, place)  # a closed folder could not be moved
            finally:
                _remove_tree(aside)
        os.chmod(place, _CLOSED)
        self._list(commit, items)

    def _lay(self, place: bytes, items: Sequence[Item]) -> None:
        """Put what is not there yet into a folder, links last, and close all folders below it."""
        folders = [_join(place, folder) for folder in sorted(_folders(items))]
        for folder in folders:
            if os.path.isdir(folder):
                os.chmod(folder, _OPEN)
            else:
                os.mkdir(folder, _OPEN)
        for item in sorted(items, key=lambda item: item.mode == MODE_LINK):
            full = _join(place, item.path)
            if os.path.lexists(full):
                continue
            if item.mode == MODE_SUBMODULE:
                os.mkdir(full, _CLOSED)
            elif item.mode == MODE_LINK:
                os.symlink(self._read(item), full)
            else:
                self._link(item, full)
        for folder in folders[1:]:
            os.chmod(folder, _CLOSED)

    def _link(self, item: Item, full: bytes) -> None:
        stored = self._stored(item)
        try:
            os.link(stored, full, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EMLINK:  # ext4 takes 65,000: go on with a new file
                self.put(item, self._read(item))
                os.link(stored, full, follow_symlinks=False)
            elif error.errno in _NO_LINKS:
                os.rename(self._write(item, self._read(item)), full)
            else:
                raise

    def _write(self, item: Item, data: bytes) -> bytes:
        aside = self._aside(item.oid)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(aside, flags, 0o600), "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), _permissions(item))
                file.flush()
                os.utime(file.fileno(), ns=(_time_of(item.oid), _time_of(item.oid)))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)
            raise
        return aside

    def _read(self, item: Item) -> bytes:
        with open(self._stored(item), "rb") as file:
            return file.read()

    # ── checking ──────────────────────────────────────────────────────────────────────────

    def _differing(self, commit: str, items: Sequence[Item]) -> set[bytes]:
        """Paths that are missing, spoilt, or nobody's; a folder stands for all below it."""
        wanted = {item.path: item for item in items}
        folders = _folders(items)
        missing, wrong = set(wanted), set()
        stack = [(os.fsencode(self._tree(commit)), b"")]
        while stack:
            where, prefix = stack.pop()
            try:
                found = list(os.scandir(where))
            except OSError:
                wrong.add(prefix)
                continue
            for entry in found:
                path = prefix + b"/" + entry.name if prefix else entry.name
                item = wanted.get(path)
                if item is not None:
                    missing.discard(path)
                    if self._fault(entry, item):
                        wrong.add(path)
                elif path in folders and entry.is_dir(follow_symlinks=False):
                    stack.append((entry.path, path))
                else:
                    wrong.add(path)
        return missing | wrong

    @staticmethod
    def _fault(entry: os.DirEntry[bytes], item: Item) -> str | None:
        """What is wrong with a path that is there."""
        info = entry.stat(follow_symlinks=False)
        if item.mode == MODE_SUBMODULE:
            return None if stat.S_ISDIR(info.st_mode) else "kind"
        if item.mode == MODE_LINK:
            if not stat.S_ISLNK(info.st_mode):
                return "kind"
            return None if blob_id(os.readlink(entry.path)) == item.oid else "target"
        return _file_fault(info, item)

    # ── the folder ────────────────────────────────────────────────────────────────────────

    def _tree(self, commit: str) -> Path:
        return self.folder / "trees" / commit

    def _stored(self, item: Item) -> bytes:
        end = b".x" if item.mode == MODE_EXECUTABLE else b""
        oid = item.oid.encode()
        return b"/".join((self._files, oid[:2], oid[2:] + end))

    def _aside(self, name: str) -> bytes:
        return os.fsencode(self.folder / "aside" / f"{name}.{os.getpid()}.{os.urandom(4).hex()}")

    def _claim(self) -> None:
        """Make the depot, or see that it is ours. Raises DepotUnusable, OSError."""
        for name in ("files", "trees", "lists", "aside", "locks"):
            os.makedirs(self.folder / name, exist_ok=True)
        owner = os.stat(self.folder).st_uid
        if owner != os.geteuid():
            raise DepotUnusable(
                f"{self.folder} belongs to user {owner}, and only that one adds to it "
                f"(this is user {os.geteuid()})",
                hint=f"ls -ld {self.folder}",
            )

    @contextlib.contextmanager
    def _locked(self, name: str, how: int) -> Iterator[None]:
        """Hold a lock of the depot's; the kernel lets go of it however this process ends."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self.folder / "locks" / name, flags, 0o600)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    def _list(self, commit: str, items: Iterable[Item]) -> None:
        lines = (b"%o %s %d %s" % (i.mode, i.oid.encode(), i.size, i.path) for i in items)
        aside = self._aside(commit)
        with open(aside, "wb") as file:
            file.write(b"\0".join(lines))
        os.rename(aside, self.folder / "lists" / commit)

    def _listed(self, commit: str) -> list[Item] | None:
        try:
            data = (self.folder / "lists" / commit).read_bytes()
        except FileNotFoundError:
            return None
        items = []
        try:
            for line in data.split(b"\0") if data else ():
                mode, oid, size, path = line.split(b" ", 3)
                items.append(Item(path, int(mode, 8), oid.decode("ascii"), int(size)))
        except ValueError:
            return None  # damaged: made anew
        return items if self._tree(commit).is_dir() else None

    def _asked(self, commit: str) -> float:
        """When a tree was last asked for; 0 for one that was never finished."""
        try:
            return (self.folder / "lists" / commit).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _touch(self, commit: str) -> bool:
        """Note that a tree is asked for; False where it has just been taken away."""
        try:
            os.utime(self.folder / "lists" / commit)
        except FileNotFoundError:
            return False
        except PermissionError:
            pass  # another user's task (`run_as_user`): its worker has noted it
        return True

    def _remove(self, commit: str, unused: float) -> bool:
        """Take a tree away, its list first; False where somebody asks for it at this moment."""
        listed, aside = self.folder / "lists" / commit, self._aside(commit)
        with contextlib.suppress(FileNotFoundError):
            os.rename(listed, aside)
            if time.time() - os.stat(aside).st_mtime < unused:
                os.rename(aside, listed)
                return False
            os.unlink(aside)
        gone = self._aside(commit)
        os.chmod(self._tree(commit), _OPEN)
        os.rename(self._tree(commit), gone)
        _remove_tree(gone)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / "locks" / commit)
        return True

    def _sweep(self) -> None:
        """Unlink files that no tree has, and what ended processes left aside. Nobody adds meanwhile."""
        for folder, _, names in os.walk(self._files):
            for name in names:
                path = os.path.join(folder, name)
                if os.lstat(path).st_nlink == 1:
                    os.unlink(path)
        for entry in os.scandir(self.folder / "aside"):
            _remove_tree(os.fsencode(entry.path))


class GitStock:
    """The files of a commit from a repository: raw blobs, no filters."""

    def __init__(self, repo: Repository, tree: str) -> None:
        self._repo, self._tree = repo, tree
        self.skipped: list[bytes] = []
        """paths that no file system holds"""

    def fill(self, depot: Depot) -> Sequence[Item]:
        """As Stock has it. Raises TreeTooLarge or MissingObject."""
        items = []
        for path, entry in self._repo.walk(self._tree):
            if entry.mode == MODE_SUBMODULE:
                items.append(Item(path, entry.mode, entry.oid, 0))
                continue
            item = Item(path, entry.mode, entry.oid, self._repo.size(entry.oid))
            link = entry.mode == MODE_LINK
            if not fits(path) or (link and not can_be_target(self._repo.blob(entry.oid))):
                self.skipped.append(path)
                continue
            if not depot.has(item):
                depot.put(item, self._repo.blob(entry.oid))
            items.append(item)
        return items


def blob_id(data: bytes) -> str:
    """The id Git gives these bytes."""
    head = b"blob %d\0" % len(data)
    return hashlib.sha1(head + data, usedforsecurity=False).hexdigest()


def _time_of(oid: str) -> int:
    """A blob's mtime in ns: 29 and 29.9 bits of its id, 2001 to 2018; the mount gives the same."""
    number = int(oid[16:32], 16)
    seconds = _FIRST_TIME + (number & 0x1FFF_FFFF)
    return seconds * 1_000_000_000 + (number >> 29) % 1_000_000_000


def _file_fault(info: os.stat_result, item: Item) -> str | None:
    """What is wrong with a regular file."""
    if not stat.S_ISREG(info.st_mode):
        return "kind"
    if stat.S_IMODE(info.st_mode) != _permissions(item):
        return "mode"
    if info.st_size != item.size:
        return "size"
    # Whole seconds: not every file system keeps more.
    return None if int(info.st_mtime) == _time_of(item.oid) // 1_000_000_000 else "time"


def _permissions(item: Item) -> int:
    return 0o555 if item.mode == MODE_EXECUTABLE else 0o444


def _join(place: bytes, path: bytes) -> bytes:
    return place + b"/" + path if path else place


def _folders(items: Iterable[Item]) -> set[bytes]:
    """Every folder that the paths lie in, the tree's own (empty) included."""
    found = {b""}
    for item in items:
        parent = item.path.rpartition(b"/")[0]
        while parent not in found:
            found.add(parent)
            parent = parent.rpartition(b"/")[0]
    return found


def _remove_path(place: bytes, path: bytes) -> None:
    """Remove a file, a link or a folder of a tree, whose own folder is closed."""
    full = _join(place, path)
    parent = os.path.dirname(full)
    with contextlib.suppress(FileNotFoundError):
        os.chmod(parent, _OPEN)
        if os.path.isdir(full) and not os.path.islink(full):
            _remove_tree(full)
        else:
            os.unlink(full)


def _remove_tree(place: bytes) -> None:
    """Remove a folder with what is in it, closed folders included; nothing where it is not there."""
    if not os.path.lexists(place):
        return
    if os.path.islink(place) or not os.path.isdir(place):
        os.unlink(place)
        return
    for folder, _, _ in os.walk(place):
        os.chmod(folder, _OPEN)
    shutil.rmtree(place)
