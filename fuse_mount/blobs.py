"""The bytes of files that are read in pieces, by blob id; the least recently read go first."""

from __future__ import annotations

from collections import OrderedDict


class Blobs:
    """Blobs of at most ``limit`` bytes together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = self.hits = self.misses = 0
        self._blobs: OrderedDict[str, bytes] = OrderedDict()

    def get(self, oid: str) -> bytes | None:
        """A blob that is kept, or None."""
        data = self._blobs.get(oid)
        if data is None:
            self.misses += 1
        else:
            self.hits += 1
            self._blobs.move_to_end(oid)
        return data

    def keep(self, oid: str, data: bytes) -> None:
        """Keeps a blob, and as many others as there is room for."""
        self._blobs[oid] = data
        self.size += len(data)
        while self.size > self.limit:
            self.size -= len(self._blobs.popitem(last=False)[1])
