"""The spool: records that processes of Airflow leave in a file, for a drainer to take into the store.

Standard library only: Airflow's processes import this. A record is one line, ``<crc32> <json>``, written
by one write(2) with a line break on both sides, so that what a killed writer leaves half-written spoils
no other record. A writer holds a shared lock while it writes; a drainer renames the file under the
exclusive one, and unlinks it when its records are stored. Local disks only: locks of NFS do not hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = 1
"""Of the records. A drainer puts aside what a later gitdags wrote, for that one to take in."""

_CURRENT, _TAKEN, _ASIDE = "spool", "take-", "aside-"


@dataclass(frozen=True, slots=True)
class Taken:
    """A file of records that a drainer holds; nobody else takes it until the drainer ends."""

    path: Path
    records: tuple[dict[str, Any], ...]
    torn: int
    """lines that no writer finished, or that are damaged"""


class Spool:
    """A folder with one file that is written to, and those that drainers have taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._current = str(folder / _CURRENT)

    # ── writing ───────────────────────────────────────────────────────────────────────────

    def append(self, record: Mapping[str, Any], *, sync: bool = True) -> str:
        """Write one record; its id, which is made where the record has none.

        ``sync``: return only when it is on the disk; otherwise it survives the end of this process,
        and the machine's only after `sync`. Raises OSError; a half-written record is none.
        """
        number: str = record.get("id") or os.urandom(16).hex()
        whole = {"v": VERSION, "id": number, "at": time.time(), **record}
        self._write(_line(whole), sync=sync)
        return number

    def sync(self) -> None:
        """Bring what was appended without ``sync`` to the disk. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(self._current, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

    def _write(self, line: bytes, *, sync: bool) -> None:
        while True:
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_SH)
                try:
                    renamed = os.stat(self._current).st_ino != os.fstat(fd).st_ino
                except FileNotFoundError:
                    renamed = True
                if renamed:
                    continue  # a drainer took it between open and lock
                if os.write(fd, line) != len(line):
                    raise OSError(28, os.strerror(28), self._current)
                if sync:
                    os.fdatasync(fd)
                return
            finally:
                os.close(fd)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._current, flags, 0o600)
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._current, flags, 0o600)

    # ── draining ──────────────────────────────────────────────────────────────────────────

    def take(self) -> Iterator[Taken]:
        """The records waiting, a file at a time: first those that an ended drainer left behind.

        Call `done` when they are stored; a file that is not done is taken again next time.
        """
        if not self.folder.is_dir():
            return
        for name in sorted(os.listdir(self.folder)):
            if name.startswith(_TAKEN) or _written_by_older(name):
                yield from self._read(self.folder / name)
        taken = self._rename()
        if taken is not None:
            yield from self._read(taken)

    def done(self, taken: Taken) -> None:
        """Forget a file of records: they are stored."""
        taken.path.unlink(missing_ok=True)

    def put_aside(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep records of a later version where this one does not take them again. Raises OSError."""
        self.keep(f"{_ASIDE}{VERSION}", records)

    def keep(self, name: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Append records to a file of the spool that no drainer takes. Raises OSError."""
        if records:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            with open(os.open(self.folder / name, flags, 0o600), "ab") as file:
                file.write(b"".join(map(_line, records)))
                file.flush()
                os.fdatasync(file.fileno())

    def waiting(self) -> tuple[int, float]:
        """(bytes not drained yet, Unix time of the oldest file of them, or 0)."""
        size, oldest = 0, 0.0
        if self.folder.is_dir():
            for name in os.listdir(self.folder):
                if name == _CURRENT or name.startswith(_TAKEN):
                    with contextlib.suppress(FileNotFoundError):
                        info = os.stat(self.folder / name)
                        if info.st_size:
                            size += info.st_size
                            oldest = min(oldest or info.st_ctime, info.st_ctime)
        return size, oldest

    def _rename(self) -> Path | None:
        """Take the current file from its writers; None where there is nothing in it."""
        try:
            fd = os.open(self._current, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if os.fstat(fd).st_size == 0:
                return None
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.stat(self._current).st_ino != os.fstat(fd).st_ino:
                return None  # another drainer was quicker
            place = self.folder / f"{_TAKEN}{time.time_ns()}-{os.getpid()}"
            os.rename(self._current, place)
            return place
        except FileNotFoundError:
            return None
        finally:
            os.close(fd)

    @staticmethod
    def _read(path: Path) -> Iterator[Taken]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # another drainer is done with it
        with open(fd, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another drainer is at it
            # Shared from here on: a writer that opened the file before it was renamed must get its
            # lock, to see that it has to open the next one.
            fcntl.flock(file, fcntl.LOCK_SH)
            records, torn = _parse(file.read())
            yield Taken(path, tuple(records), torn)


def _written_by_older(name: str) -> bool:
    number = name.removeprefix(_ASIDE)
    return name != number and number.isdecimal() and int(number) < VERSION


def _line(record: Mapping[str, Any]) -> bytes:
    data = json.dumps(record, separators=(",", ":"), default=str).encode()
    return b"\n%08x " % zlib.crc32(data) + data + b"\n"


def _parse(data: bytes) -> tuple[list[dict[str, Any]], int]:
    records, torn = [], 0
    for line in data.split(b"\n"):
        if not line:
            continue
        record = _record(line)
        if record is None:
            torn += 1
        else:
            records.append(record)
    return records, torn


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        if int(line[:8], 16) != zlib.crc32(line[9:]):
            return None
        record = json.loads(line[9:])
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
