"""Answers to READDIR and READDIRPLUS: folders a page at a time."""

from __future__ import annotations

import bisect
import stat
from collections import OrderedDict
from collections.abc import Callable

from fuse_mount import protocol as p
from fuse_mount.encoder import Encoder
from fuse_mount.nodes import Directory, File, Folder, Lost, Node, RefFolder, Root, Submodule
from fuse_mount.vfs import Vfs

_DIRECTORY_TYPE, _FILE_TYPE = stat.S_IFDIR >> p.DT_SHIFT, stat.S_IFREG >> p.DT_SHIFT
_Row = tuple[bytes, File | None, bytes]
"""Name, the file if it is one, and its whole directory entry; empty for folders."""
_ROWS = 20_000  # rows kept; about 450 bytes each


class Listings:
    """Pages of folders. ``tell`` is called for each node that a page tells the kernel of."""

    def __init__(self, vfs: Vfs, encoder: Encoder, tell: Callable[[Node], None]) -> None:
        self._vfs, self._encoder, self._tell = vfs, encoder, tell
        self._kept: OrderedDict[tuple[str, str], list[_Row]] = OrderedDict()
        self._size = 0

    def page(self, folder: Node, offset: int, size: int, *, plus: bool) -> bytes:
        """At most ``size`` bytes of entries behind an offset, none at the end.

        Raises NotADirectoryError, and what the file system does.
        """
        page = _Page(size, plus)
        if offset < 1:
            page.add(folder.id, 1, b".", _DIRECTORY_TYPE, p.NO_ENTRY)
        if offset < 2:
            page.add(1, 2, b"..", _DIRECTORY_TYPE, p.NO_ENTRY)
        if type(folder) is Directory:
            self._commit(folder, max(0, offset - 2), page)
        elif isinstance(folder, Root | RefFolder | Submodule):
            self._names(folder, offset, page)
        else:
            raise NotADirectoryError
        return bytes(page.data)

    def _commit(self, folder: Directory, first: int, page: _Page) -> None:
        if first and first >= self._vfs.size(folder):
            return  # the question whether there is more, asked after every listing
        rows = self._rows(folder)
        for index in range(first, len(rows)):
            name, file, row = rows[index]
            if not page.fits(name):
                return
            if row:
                if file is not None and page.plus:
                    self._tell(file)
                page.data += row if page.plus else row[p.ENTRY.size :]
                continue
            node = self._vfs.lookup(folder, name)
            if node is not None:
                entry = b""
                if page.plus:
                    entry = self._encoder.entry(node)
                    self._tell(node)
                page.add(node.id, index + 3, name, _DIRECTORY_TYPE, entry)

    def _rows(self, folder: Directory) -> list[_Row]:
        """A folder's listing, ready but for what differs between commits: the folders in it.

        Kept by tree: a commit shares nearly all of its trees with its neighbours, and 10,000 names
        are asked for in hundreds of pieces.
        """
        key = folder.repository, folder.tree
        rows = self._kept.get(key)
        if rows is not None:
            self._kept.move_to_end(key)
            return rows
        rows = []
        for index, (name, node) in enumerate(self._vfs.listing(folder)):
            page = _Page(0, plus=True)
            if type(node) is File:
                kind = node.mode >> p.DT_SHIFT
                page.add(node.id, index + 3, name, kind, self._encoder.entry(node))
                rows.append((name, node, bytes(page.data)))
            elif type(node) is Lost:
                page.add(node.id, index + 3, name, _FILE_TYPE, p.NO_ENTRY)
                rows.append((name, None, bytes(page.data)))
            else:
                rows.append((name, None, b""))
        self._kept[key] = rows
        self._size += len(rows)
        while self._size > _ROWS and len(self._kept) > 1:
            self._size -= len(self._kept.popitem(last=False)[1])
        return rows

    def _names(self, folder: Folder, offset: int, page: _Page) -> None:
        """Refs and repositories: names only, as whatever is told of them does not last."""
        if type(folder) is Root and offset == 0:
            self._vfs.refresh()
        names = self._vfs.names(folder)
        for number, name, mode in names[bisect.bisect_right(names, (offset, b"\xff" * 256)) :]:
            if not page.fits(name):
                return
            page.add(number, number, name, mode >> p.DT_SHIFT, p.NO_ENTRY)


class _Page:
    """Entries up to the size asked for."""

    __slots__ = ("data", "plus", "room")

    def __init__(self, size: int, plus: bool) -> None:
        self.data = bytearray()
        self.plus, self.room = plus, size

    def fits(self, name: bytes) -> bool:
        """Whether an entry of that name still has room."""
        length = (len(name) + 7 & ~7) + p.DIRENT.size + (p.ENTRY.size if self.plus else 0)
        return len(self.data) + length <= self.room

    def add(self, number: int, after: int, name: bytes, kind: int, entry: bytes) -> None:
        """Appends an entry; ``after`` is the offset that goes on behind it."""
        if self.plus:
            self.data += entry
        self.data += p.DIRENT.pack(number, after, len(name), kind)
        self.data += name + b"\0" * (-len(name) & 7)
