"""The things a path can lead to: frozen values, and the number each one always has.

A node's id is its inode number and the name the kernel knows it by. It is a function of what the
node is, never of the order in which nodes were seen, so that a new server, and tomorrow's mount,
give the same numbers.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

_MASK = (1 << 62) - 1  # ids stay positive as a signed directory offset, too
_RESERVED = 16  # 0 is "no node" and 1 the root to the kernel


class Root(NamedTuple):
    """The mountpoint: one folder per registered repository."""

    id: int = 1


class RefFolder(NamedTuple):
    """A folder of refs: a repository's own (``prefix`` empty) or part of refs' names (``feature``)."""

    id: int
    repository: str
    prefix: bytes


class RefLink(NamedTuple):
    """Anything that leads to a commit, followed anew at each use: a ref or a revision expression."""

    id: int
    repository: str
    rev: bytes
    """the whole name, ``feature/x`` or ``HEAD~3``"""


class Directory(NamedTuple):
    """A folder of a commit, never shared between commits or paths.

    Sharing it by tree id lost files under two concurrent `find`s and moved a working directory to
    another commit (docs/mount.md).
    """

    id: int
    repository: str
    commit: str
    tree: str
    time: int
    """committer time, seconds since 1970"""
    depth: int
    """0 for the commit's own folder"""


class Submodule(NamedTuple):
    """A commit of a repository that is not registered here: an empty folder."""

    id: int
    time: int


class File(NamedTuple):
    """A blob under one mode: a regular file or a symbolic link, shared by all commits."""

    id: int
    repository: str
    oid: str
    mode: int
    """st_mode: type and permissions"""
    size: int


class Lost(NamedTuple):
    """A file whose blob is missing: its name is listed, nothing else can be said of it."""

    id: int


class Alias(NamedTuple):
    """``dags`` in a commit whose DAG folder has another name: a link to that folder."""

    id: int
    target: bytes
    time: int


Node = Root | RefFolder | RefLink | Directory | Submodule | File | Lost | Alias
Folder = Root | RefFolder | Directory | Submodule


def derived(*parts: bytes | int) -> int:
    """A node id from what the node is: 62 bits of a BLAKE2b hash."""
    text = b"\0".join(
        part if isinstance(part, bytes) else part.to_bytes(8, "little") for part in parts
    )
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "little") & _MASK
    return number if number >= _RESERVED else number + _RESERVED


def folder_id(parent: int, name: bytes) -> int:
    """The id of a folder in a folder of a commit: ``derived(b"tree", parent, name)``, at half the price."""
    text = b"tree\0%b\0%b" % (parent.to_bytes(8, "little"), name)
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "little") & _MASK
    return number if number >= _RESERVED else number + _RESERVED


def file_id(salt: int, oid: str, mode: int) -> int:
    """The id of a blob under a mode in the repository with this salt.

    Taken from the object id itself, at a sixth of the price of a hash. Whoever makes two blobs
    whose ids agree in 62 bits gets an error, not the other blob's bytes (`fuse_mount.table`).
    """
    number = ((int(oid[:16], 16) ^ salt) + mode) & _MASK
    return number if number >= _RESERVED else number + _RESERVED


FIRST_TIME = 1_000_000_000  # 2001-09-09


def file_time(oid: str) -> tuple[int, int]:
    """(seconds, nanoseconds) of a blob's mtime: 29 and 29.9 bits of its id, 2001 to 2018.

    A constant mtime made Python import stale bytecode after an edit of the same size; a commit's
    time would differ where the inode is shared.
    """
    number = int(oid[16:32], 16)
    return FIRST_TIME + (number & 0x1FFF_FFFF), (number >> 29) % 1_000_000_000
