"""A commit's tree as a compressed tar, part by part: for hosts that have neither mirror nor FUSE."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from gitdags.git import Repository
from gitdags.model import MODE_EXECUTABLE, MODE_LINK, MODE_SUBMODULE, Entry

LEVEL = 1  # of gzip: 2.5 times the size of 9 takes a fifth of its time, and loopback does not care
_PART = 256 << 10  # bytes handed on at a time


def pack(repo: Repository, tree: str, subdir: bytes = b"") -> Iterator[bytes]:
    """A tar.gz of all below a tree, or of one folder of it; equal trees give equal bytes.

    Paths are those in the repository, also with ``subdir``: what is unpacked lies where it lay. Files
    are 0444 or 0555, with an mtime that is a function of their content, so that a changed file never
    has the time of the one it replaces. Links and (empty) places of submodules are as Git has them.
    Raises TreeTooLarge, CorruptObject or MissingObject, the last two possibly after the first part.
    """
    entry = repo.find(tree, subdir)
    if entry is None:
        return
    prefix = subdir + b"/" if subdir else b""
    sink = _Sink()
    with tarfile.open(
        fileobj=sink,  # type: ignore[call-overload]  # only `write` is called in stream mode
        mode="w|gz",
        format=tarfile.PAX_FORMAT,
        compresslevel=LEVEL,
        encoding="utf-8",
        errors="surrogateescape",
    ) as tar:
        for path, found in repo.walk(entry.oid, prefix):
            info, data = _member(repo, path, found)
            tar.addfile(info, io.BytesIO(data))
            if sink.size >= _PART:
                yield sink.take()
    yield sink.take()


def _member(repo: Repository, path: bytes, entry: Entry) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
    info.mtime = _time(entry.oid)
    data = b""
    if entry.mode == MODE_SUBMODULE:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    elif entry.mode == MODE_LINK:
        info.type = tarfile.SYMTYPE
        info.linkname = repo.blob(entry.oid).decode("utf-8", "surrogateescape")
    else:
        data = repo.blob(entry.oid)
        info.mode = 0o555 if entry.mode == MODE_EXECUTABLE else 0o444
        info.size = len(data)
    return info, data


def _time(oid: str) -> int:
    """2001 to 2018: Python takes a file of the same size and time for the one it has bytecode of."""
    return 1_000_000_000 + (int(oid[16:24], 16) & 0x1FFF_FFFF)


class _Sink:
    """Takes what tarfile writes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self.size += len(data)
        return len(data)

    def take(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts, self.size = [], 0
        return whole
