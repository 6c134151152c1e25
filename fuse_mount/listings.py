"""Answers to READDIR and READDIRPLUS: folders a page at a time."""

from __future__ import annotations

import bisect
import itertools
import stat
from collections import OrderedDict
from collections.abc import Callable
from struct import Struct

from fuse_mount import protocol as p
from fuse_mount.commits import subfolder
from fuse_mount.encoder import Encoder
from fuse_mount.nodes import Directory, File, Folder, Lost, Node, RefFolder, Root, Submodule
from fuse_mount.vfs import Vfs

END = 1 << 62
"""The offset behind a folder's last entry, more than any id: what follows it needs no look-up."""

_INODE = Struct("=Q")
_ROWS = 20_000  # rows kept; about 450 bytes each


class Listings:
    """Pages of folders. ``tell`` is called with the nodes that a page tells the kernel of."""

    def __init__(self, vfs: Vfs, encoder: Encoder, tell: Callable[..., None]) -> None:
        self._vfs, self._encoder, self._tell = vfs, encoder, tell
        self._kept: OrderedDict[tuple[str, str], _Rows] = OrderedDict()
        self._size = 0

    def page(self, folder: Node, offset: int, size: int, *, plus: bool) -> bytes | bytearray:
        """At most ``size`` bytes of entries behind an offset, none at the end.

        Raises NotADirectoryError, and what the file system does.
        """
        if type(folder) is Directory:
            return self._commit(folder, offset, size, plus)
        if isinstance(folder, Root | RefFolder | Submodule):
            return self._names(folder, offset, size, plus)
        raise NotADirectoryError

    # ── below a commit ────────────────────────────────────────────────────────────────────────

    def _commit(self, folder: Directory, first: int, size: int, plus: bool) -> bytes | bytearray:
        """Rows as they are kept, but for what differs between commits: the folders."""
        rows = self._rows(folder)
        if first >= len(rows.files):
            return b""
        starts = rows.starts
        start, stop = starts[first], bisect.bisect_right(starts, starts[first] + size) - 1
        page = bytearray(rows.data[start : starts[stop]])
        if first == 0:
            _INODE.pack_into(page, p.ENTRY.size, folder.id)
        nodes: list[Node] = list(filter(None, rows.files[first:stop]))
        for row, name, tree in rows.folders:
            if first <= row < stop:
                node = subfolder(folder, name, tree)
                nodes.append(node)
                at = starts[row] - start
                page[at : at + p.ENTRY.size] = self._encoder.entry(node)
                _INODE.pack_into(page, at + p.ENTRY.size, node.id)
        if plus:
            self._tell(*nodes)
            return page
        bounds = itertools.pairwise(at - start for at in starts[first : stop + 1])
        return b"".join(page[at + p.ENTRY.size : end] for at, end in bounds)

    def _rows(self, folder: Directory) -> _Rows:
        """A folder's rows, kept by tree: a commit shares nearly all of its trees with its neighbours."""
        key = folder.repository, folder.tree
        rows = self._kept.get(key)
        if rows is not None:
            self._kept.move_to_end(key)
            return rows
        rows = self._kept[key] = _Rows(self._vfs.listing(folder), self._encoder)
        self._size += len(rows.files)
        while self._size > _ROWS and len(self._kept) > 1:
            self._size -= len(self._kept.popitem(last=False)[1].files)
        return rows

    # ── above a commit ────────────────────────────────────────────────────────────────────────

    def _names(self, folder: Folder, offset: int, size: int, plus: bool) -> bytes:
        """Refs and repositories: names only, as whatever is told of them does not last."""
        if type(folder) is Root and offset == 0:
            self._vfs.refresh()
        names = self._vfs.names(folder)
        first = bisect.bisect_right(names, (offset, b"\xff" * 256))
        rows = [(1, folder.id, b".", stat.S_IFDIR), (2, 1, b"..", stat.S_IFDIR)][offset:]
        rows += [(number, number, name, mode) for number, name, mode in names[first : first + size]]
        entry, last = p.NO_ENTRY if plus else b"", names[-1][0] if names else 2
        page = bytearray()
        for after, number, name, mode in rows:
            row = _row(number, END if after == last else after, name, mode, entry)
            if len(page) + len(row) > size:
                break
            page += row
        return bytes(page)


class _Rows:
    """A tree's listing, with all that is the same wherever the tree is.

    ``data`` has a row per entry, ``.`` and ``..`` first, without the ids and times of folders;
    ``starts`` where each begins, and the end. ``files`` has each row's file, or None.
    """

    __slots__ = ("data", "files", "folders", "starts")

    def __init__(self, listing: list[tuple[bytes, Node]], encoder: Encoder) -> None:
        self.files: list[File | None] = [None, None]
        self.folders: list[tuple[int, bytes, str]] = []
        rows = [(0, b".", stat.S_IFDIR, p.NO_ENTRY), (1, b"..", stat.S_IFDIR, p.NO_ENTRY)]
        for name, node in listing:
            mode, entry = stat.S_IFDIR, p.NO_ENTRY
            if type(node) is File:
                mode, entry = node.mode, encoder.entry(node)
            elif type(node) is Directory:
                self.folders.append((len(rows), name, node.tree))
            elif type(node) is Lost:
                mode = stat.S_IFREG
            rows.append((node.id, name, mode, entry))
            self.files.append(node if type(node) is File else None)
        offsets = [*range(1, len(rows)), END]
        written = [_row(r[0], after, *r[1:]) for r, after in zip(rows, offsets, strict=True)]
        self.data = b"".join(written)
        self.starts = [0, *itertools.accumulate(map(len, written))]


def _row(number: int, after: int, name: bytes, mode: int, entry: bytes) -> bytes:
    """A directory entry; ``after`` is the offset that goes on behind it."""
    head = p.DIRENT.pack(number, after, len(name), mode >> p.DT_SHIFT)
    return entry + head + name + b"\0" * (-len(name) & 7)
