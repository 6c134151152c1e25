"""The kernel's FUSE protocol as numbers and structures: <linux/fuse.h>, versions 7.23 to 7.45.

Only what a read-only file system needs. Knows no Git and does no input or output.
"""

from __future__ import annotations

from struct import Struct

MAJOR, MINOR = 7, 45
OLDEST_MINOR = 23  # the length of INIT's answer as below; Linux 3.15

# ── opcodes ───────────────────────────────────────────────────────────────────────────────────

LOOKUP, FORGET, GETATTR, READLINK = 1, 2, 3, 5
OPEN, READ, STATFS, RELEASE, FLUSH = 14, 15, 17, 18, 25
GETXATTR, LISTXATTR = 22, 23
INIT, OPENDIR, READDIR, RELEASEDIR = 26, 27, 28, 29
ACCESS, INTERRUPT, DESTROY, BATCH_FORGET, READDIRPLUS = 34, 36, 38, 42, 44

NAMES = {
    LOOKUP: "lookup", FORGET: "forget", GETATTR: "getattr", READLINK: "readlink", OPEN: "open",
    READ: "read", STATFS: "statfs", RELEASE: "release", FLUSH: "flush", GETXATTR: "getxattr",
    LISTXATTR: "listxattr", INIT: "init", OPENDIR: "opendir", READDIR: "readdir",
    RELEASEDIR: "releasedir", ACCESS: "access", INTERRUPT: "interrupt", DESTROY: "destroy",
    BATCH_FORGET: "batch_forget", READDIRPLUS: "readdirplus",
}  # fmt: skip

WRITES = frozenset((4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51))
"""setattr, symlink, mknod, mkdir, unlink, rmdir, rename, link, write, setxattr, removexattr, create,
fallocate, rename2, copy_file_range, tmpfile. The kernel refuses them itself on a read-only mount;
the server does too, should somebody remount it."""

SILENT = frozenset((FORGET, BATCH_FORGET, INTERRUPT))
"""requests that get no answer"""

# ── what INIT agrees on ───────────────────────────────────────────────────────────────────────

ASYNC_READ = 1 << 0
AUTO_INVAL_DATA = 1 << 12
DO_READDIRPLUS = 1 << 13
NO_OPEN_SUPPORT = 1 << 17
PARALLEL_DIROPS = 1 << 18
MAX_PAGES = 1 << 22
NO_OPENDIR_SUPPORT = 1 << 24
INIT_EXT = 1 << 30
HAS_RESEND = 1 << (39 - 32)  # in the second word of flags; Linux 6.9

# ── notifications, sent without having been asked ─────────────────────────────────────────────

NOTIFY_INVAL_ENTRY, NOTIFY_STORE, NOTIFY_RESEND, NOTIFY_PRUNE = 3, 4, 7, 9
PRUNE_MINOR = 45  # Linux 6.18

# ── structures, all little-endian as on every machine Linux runs FUSE servers in Python on ────

IN_HEADER = Struct("=IIQQ16x")
"""length, opcode, unique, node id; who asks is of no interest: the kernel has checked it"""
OUT_HEADER = Struct("=IiQ")
"""length, negative errno (or a notification's code), unique"""
ATTRIBUTES = "6Q10I"
ENTRY = Struct("=4Q2I" + ATTRIBUTES)
"""node id, generation, entry and attribute seconds, their nanoseconds, attributes"""
ATTR_OUT = Struct("=QII" + ATTRIBUTES)
"""seconds and nanoseconds the attributes hold, padding, attributes"""
DIRENT = Struct("=QQII")
"""inode, offset of the next one, length of the name, type"""
INIT_IN = Struct("=IIIII")
"""major, minor, max_readahead, flags, flags2; the last one from 7.36 on"""
INIT_OUT = Struct("=IIIIHHIIHHI28x")
"""major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran,
max_pages, map_alignment, flags2"""
READ_IN = Struct("=QQI")
"""file handle, offset, size; the same for directories"""
FORGET_ONE = Struct("=QQ")
XATTR_IN = Struct("=II")
STATFS_OUT = Struct("=5Q10I")
STORE_OUT = Struct("=QQII")
INVAL_ENTRY_OUT = Struct("=QII")
PRUNE_OUT = Struct("=II8x")

NO_ENTRY = ENTRY.pack(*[0] * 22)
SPACE = STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, 255, 4096, *[0] * 7)
"""no space, blocks of 4,096 bytes, names of at most 255"""
HEADER_SIZE = OUT_HEADER.size
DT_SHIFT = 12  # st_mode >> 12 is the type in a directory entry


def ok(unique: int, length: int) -> bytes:
    """The header of an answer that carries ``length`` bytes."""
    return OUT_HEADER.pack(HEADER_SIZE + length, 0, unique)


def failed(unique: int, number: int) -> bytes:
    """A whole answer that says an errno."""
    return OUT_HEADER.pack(HEADER_SIZE, -number, unique)


def notification(code: int, length: int) -> bytes:
    """The header of a notification that carries ``length`` bytes."""
    return OUT_HEADER.pack(HEADER_SIZE + length, code, 0)
