"""The files of a commit out of an archive, into a depot. Nothing of an archive is believed.

Members are read, never extracted: a name that is no plain path inside the tree, a link that leads out
of it, a device or a hard link is left out, and said so. A file's blob id is made of its bytes here.
"""

from __future__ import annotations

import gzip
import logging
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from http.client import HTTPException
from typing import IO

from gitdags.checkout import can_be_target, fits
from gitdags.depot import Depot, Item, blob_id
from gitdags.errors import GitdagsError, shown
from gitdags.git import display
from gitdags.model import MODE_EXECUTABLE, MODE_FILE, MODE_LINK, MODE_SUBMODULE

log = logging.getLogger("gitdags.bundle")

_NOTHING = "0" * 40  # an archive does not say which commit a submodule stands at

MOST_ENTRIES = 1_000_000
MOST_BYTES = 8 << 30
"""What an archive may unpack to: a bomb must not fill the disk."""


class BadArchive(GitdagsError):
    """What came is no archive, is cut off, or unpacks to more than anyone would check out."""

    http_status = 502


class ArchiveStock:
    """A commit's files from an archive that ``fetch`` opens; read once for each `fill`."""

    def __init__(self, fetch: Callable[[], IO[bytes]]) -> None:
        self._fetch = fetch

    def fill(self, depot: Depot) -> Sequence[Item]:
        """As gitdags.depot.Stock has it. Raises BadArchive, and what ``fetch`` raises."""
        items: dict[bytes, Item] = {}
        folders: set[bytes] = set()
        left_out = 0
        try:
            with (
                closing(self._fetch()) as stream,
                gzip.GzipFile(fileobj=stream) as plain,
                tarfile.open(fileobj=plain, mode="r|") as tar,
            ):
                for path, mode, data in _members(tar):
                    if path is None or path in items:
                        left_out += 1
                    elif mode == MODE_SUBMODULE:
                        folders.add(path)
                    else:
                        item = items[path] = Item(path, mode, blob_id(data), len(data))
                        if not depot.has(item):
                            depot.put(item, data)
                while plain.read(1 << 16):
                    pass  # to the end, where the checksum is
        except (
            tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, HTTPException,
        ) as error:  # fmt: skip
            raise BadArchive(f"the archive cannot be read: {shown(str(error))}") from None
        except (TimeoutError, ConnectionError) as error:
            raise BadArchive(f"the archive ends too soon: {shown(str(error))}") from None
        nested = [path for path in items if _below_an_item(path, items)]
        for path in nested:
            del items[path]
        if left_out + len(nested):
            log.warning("%d members of the archive were left out", left_out + len(nested))
        for path in folders - _folders(items) - items.keys():  # the empty place of a submodule
            if not _below_an_item(path, items):
                items[path] = Item(path, MODE_SUBMODULE, _NOTHING, 0)
        return list(items.values())


def _members(tar: tarfile.TarFile) -> Iterator[tuple[bytes | None, int, bytes]]:
    """(path, mode, content) of each folder, file and link; path None for what is left out."""
    entries = size = 0
    for member in tar:
        entries, size = entries + 1, size + member.size
        if entries > MOST_ENTRIES or size > MOST_BYTES:
            raise BadArchive("the archive unpacks to more than anyone would check out")
        path = _path(member.name)
        if path is None or not _passes(member):
            log.warning("left out: %s", display(_bytes(member.name)))
            yield None, 0, b""
        elif member.isdir():
            yield path, MODE_SUBMODULE, b""
        elif member.issym():
            target = _bytes(member.linkname)
            yield (path if can_be_target(target) else None), MODE_LINK, target
        else:
            file = tar.extractfile(member)
            data = file.read() if file else b""
            if len(data) != member.size:
                raise BadArchive(f"the archive ends within {display(path)}")
            yield path, MODE_EXECUTABLE if member.mode & 0o100 else MODE_FILE, data


def _passes(member: tarfile.TarInfo) -> bool:
    """Whether it is a file, folder or link that Python's own filter for data lets pass."""
    if not (member.isreg() or member.isdir() or member.issym()):
        return False
    if member.name.endswith("/") and not member.isdir():
        return False  # the filter takes a link `a/` for one that lies in `a`
    try:
        tarfile.data_filter(member, "/nowhere/tree")
    except tarfile.FilterError:
        return False
    return True


def _path(name: str) -> bytes | None:
    """A member's name as a path of the tree; None where it is none."""
    path = _bytes(name.removeprefix("./").rstrip("/"))
    parts = path.split(b"/")
    if not path or any(p in (b"", b".", b"..") or p.lower() == b".git" for p in parts):
        return None
    return path if fits(path) and b"\0" not in path else None


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _folders(paths: Iterable[bytes]) -> set[bytes]:
    """Every folder that the paths lie in."""
    found: set[bytes] = set()
    for path in paths:
        parent = path.rpartition(b"/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition(b"/")[0]
    return found


def _below_an_item(path: bytes, items: dict[bytes, Item]) -> bool:
    """Whether some folder of a path is a file or a link in the same archive."""
    parent = path.rpartition(b"/")[0]
    while parent:
        if parent in items:
            return True
        parent = parent.rpartition(b"/")[0]
    return False
