"""What each request of the kernel is answered with. Knows nodes and structures; sends nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable

from fuse_mount import protocol as p
from fuse_mount.encoder import Encoder
from fuse_mount.errnos import number_of
from fuse_mount.lifetimes import absence_lifetime
from fuse_mount.listings import END, Listings
from fuse_mount.nodes import Node
from fuse_mount.questions import Pending
from fuse_mount.table import Table
from fuse_mount.vfs import Vfs

Data = bytes | bytearray
_KEEP_CACHE, _CACHE_DIR = 2, 8
_OPEN_KEPT = b"\0" * 8 + _KEEP_CACHE.to_bytes(4, "little") + b"\0" * 4
_OPENDIR_KEPT = b"\0" * 8 + (_KEEP_CACHE | _CACHE_DIR).to_bytes(4, "little") + b"\0" * 4


class Failure(Exception):
    """A request that is answered with an errno."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Operations:
    """The answers of one mount. What they tell the kernel of is counted in the table, unsettled.

    ``granted`` yields the flags that INIT agreed on.
    """

    def __init__(
        self, vfs: Vfs, table: Table, granted: Callable[[], int], *, xattr: bool = False
    ) -> None:
        self._vfs, self._table, self._granted, self._xattr = vfs, table, granted, xattr
        self._encoder = Encoder(vfs)
        self._listings = Listings(vfs, self._encoder, table.hold)
        self._handlers: dict[int, Callable[[int, memoryview], Data]] = {
            p.LOOKUP: self._lookup,
            p.GETATTR: self._getattr,
            p.READLINK: self._readlink,
            p.OPEN: self._open,
            p.OPENDIR: self._opendir,
            p.READ: self._read,
            p.READDIR: self._readdir,
            p.READDIRPLUS: self._readdirplus,
            p.STATFS: lambda node, body: p.SPACE,
            p.RELEASE: lambda node, body: b"",
            p.RELEASEDIR: lambda node, body: b"",
            p.DESTROY: lambda node, body: b"",
            p.GETXATTR: self._getxattr,
            p.LISTXATTR: self._listxattr,
        }

    def answer(self, opcode: int, node: int, body: memoryview) -> Data:
        """A request's answer. Raises Failure or Pending, and then has told of nothing."""
        handler = self._handlers.get(opcode)
        if handler is None:
            raise Failure(errno.EROFS if opcode in p.WRITES else errno.ENOSYS)
        try:
            return handler(node, body)
        except (Failure, Pending):
            self._table.take_back()
            raise
        except Exception as error:
            self._table.take_back()
            raise Failure(number_of(error, opcode)) from None

    # ── nodes ─────────────────────────────────────────────────────────────────────────────────

    def _node(self, number: int) -> Node:
        if number == 1:
            return self._vfs.root
        try:
            return self._table[number]
        except KeyError:
            raise Failure(errno.ESTALE) from None

    def _lookup(self, number: int, body: memoryview) -> Data:
        parent = self._node(number)
        name = bytes(body[:-1])
        node = self._vfs.lookup(parent, name)
        if node is not None:
            entry = self._encoder.entry(node)
            self._table.hold(node)
            return entry
        lifetime = absence_lifetime(parent, name)
        if not lifetime:
            raise Failure(errno.ENOENT)
        return p.ENTRY.pack(0, 0, lifetime, *[0] * 19)

    def _getattr(self, number: int, body: memoryview) -> Data:
        return self._encoder.answer(self._node(number))

    def _readlink(self, number: int, body: memoryview) -> Data:
        target = self._vfs.target(self._node(number))
        if target is None:
            raise Failure(errno.ENOENT)
        return target

    # ── files and folders ─────────────────────────────────────────────────────────────────────

    def _open(self, number: int, body: memoryview) -> Data:
        if self._granted() & p.NO_OPEN_SUPPORT:
            raise Failure(errno.ENOSYS)  # never asked again: open(2) and close(2) cost no request
        return _OPEN_KEPT

    def _opendir(self, number: int, body: memoryview) -> Data:
        if self._granted() & p.NO_OPENDIR_SUPPORT:
            raise Failure(errno.ENOSYS)
        return _OPENDIR_KEPT

    def _read(self, number: int, body: memoryview) -> Data:
        _, offset, size = p.READ_IN.unpack_from(body)
        return self._vfs.read(self._node(number), offset, size)

    def _readdirplus(self, number: int, body: memoryview) -> Data:
        _, offset, size = p.READ_IN.unpack_from(body)
        if offset == END:
            return b""
        return self._listings.page(self._node(number), offset, size, plus=True)

    def _readdir(self, number: int, body: memoryview) -> Data:
        _, offset, size = p.READ_IN.unpack_from(body)
        return self._listings.page(self._node(number), offset, size, plus=False)

    # ── extended attributes ───────────────────────────────────────────────────────────────────

    def _getxattr(self, number: int, body: memoryview) -> Data:
        if not self._xattr:
            raise Failure(errno.ENOSYS)  # never asked again; asking cost a warm `ls -lR` tenfold
        size, _ = p.XATTR_IN.unpack_from(body)
        value = self._vfs.details(self._node(number)).get(bytes(body[p.XATTR_IN.size : -1]))
        if value is None:
            raise Failure(errno.ENODATA)
        return _sized(value, size)

    def _listxattr(self, number: int, body: memoryview) -> Data:
        if not self._xattr:
            raise Failure(errno.ENOSYS)
        size, _ = p.XATTR_IN.unpack_from(body)
        details = self._vfs.details(self._node(number))
        return _sized(b"".join(name + b"\0" for name in details), size)


def _sized(value: bytes, size: int) -> bytes:
    if size == 0:  # how long would it be?
        return p.XATTR_IN.pack(len(value), 0)
    if size < len(value):
        raise Failure(errno.ERANGE)
    return value
