"""Memory that outlives a server: which nodes the kernel knows, and the request in hand.

A server that was killed leaves the kernel with node ids, and processes waiting for answers. The
supervisor keeps this memory (a memfd) beside the /dev/fuse descriptor; the next server finds both
as they were. Requests are read from the kernel straight into it, so that nothing is lost between
being read and being answered.

    page 0      what INIT agreed on, and the requests put aside for a slow answer
    64 KiB      the buffer requests are read into
    then        records: header, payload, in slots of 64 bytes
"""

from __future__ import annotations

import marshal
import mmap
import os
import sys
from collections.abc import Iterator
from struct import Struct
from typing import Any

BUFFER = 64 << 10
ASIDE = 128
"""Requests that can wait for a slow answer at once."""

_SLOT = 64
_START = 4_096 + BUFFER
_AGREED = Struct("=IIII")  # major, minor, flags, flags2; major is 0 until INIT was answered
_USED = Struct("=Q")
_ASIDE_AT = 1_024
_RECORD = Struct("=QIHH")  # id (0: free), lookups, slots, length of the payload
_COUNT = Struct("=I")
_ID = Struct("=Q")


class Full(Exception):
    """No room for another record; the server goes on, but its successor will not know the node."""


class Ledger:
    """A memfd and its contents. ``capacity`` is address space; only what is written is memory."""

    def __init__(self, descriptor: int | None = None, capacity: int = 1 << 30) -> None:
        if descriptor is None:
            if sys.platform != "linux":
                raise OSError("memfd_create is Linux's")
            descriptor = os.memfd_create("gitdags-mount", os.MFD_CLOEXEC)
            os.truncate(descriptor, capacity)
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._view = memoryview(self._map)
        self.buffer = self._view[4_096:_START]
        self._free: dict[int, list[int]] = {}
        used = _USED.unpack_from(self._map, 512)[0]
        self._end = used or _START

    # ── what INIT agreed on ───────────────────────────────────────────────────────────────────

    @property
    def agreed(self) -> tuple[int, int, int, int]:
        """(major, minor, flags, flags2); zeros before INIT."""
        return _AGREED.unpack_from(self._map, 0)

    @agreed.setter
    def agreed(self, words: tuple[int, int, int, int]) -> None:
        _AGREED.pack_into(self._map, 0, *words)

    # ── requests put aside ────────────────────────────────────────────────────────────────────

    def put_aside(self, unique: int) -> bool:
        """Notes a request that will be answered later; False when too many are."""
        for index in range(ASIDE):
            at = _ASIDE_AT + 8 * index
            if not _ID.unpack_from(self._map, at)[0]:
                _ID.pack_into(self._map, at, unique)
                return True
        return False

    def taken_up(self, unique: int) -> None:
        """Notes that a request put aside has its answer."""
        for index in range(ASIDE):
            at = _ASIDE_AT + 8 * index
            if _ID.unpack_from(self._map, at)[0] == unique:
                _ID.pack_into(self._map, at, 0)
                return

    def aside(self) -> list[int]:
        """The requests that are waiting for their answer."""
        numbers = (_ID.unpack_from(self._map, _ASIDE_AT + 8 * index)[0] for index in range(ASIDE))
        return [number for number in numbers if number]

    # ── records ───────────────────────────────────────────────────────────────────────────────

    def add(self, number: int, payload: tuple[Any, ...], lookups: int) -> int:
        """Writes a record and returns its place. Raises Full."""
        data = marshal.dumps(payload)
        size = _RECORD.size + len(data)
        slots = -(-size // _SLOT)
        free = self._free.get(slots)
        place = free.pop() if free else self._end
        if place + size > len(self._map):
            raise Full
        self._map[place : place + size] = _RECORD.pack(number, lookups, slots, len(data)) + data
        if place == self._end:
            self._end += slots * _SLOT
            _USED.pack_into(self._map, 512, self._end)
        return place

    def count(self, place: int, lookups: int) -> None:
        """Sets how often the kernel has been told of the node."""
        _COUNT.pack_into(self._map, place + 8, lookups)

    def remove(self, place: int) -> None:
        """Frees a record."""
        _ID.pack_into(self._map, place, 0)
        self._free.setdefault(_RECORD.unpack_from(self._map, place)[2], []).append(place)

    def records(self) -> Iterator[tuple[int, int, tuple[Any, ...], int]]:
        """(id, lookups, payload, place) of each record; frees are found on the way."""
        place = _START
        while place < self._end:
            number, lookups, slots, length = _RECORD.unpack_from(self._map, place)
            if number:
                start = place + _RECORD.size
                yield number, lookups, marshal.loads(self._view[start : start + length]), place  # noqa: S302 - our own bytes
            else:
                self._free.setdefault(slots, []).append(place)
            place += slots * _SLOT
