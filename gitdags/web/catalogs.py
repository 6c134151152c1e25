"""Catalogs lent out, one user at a time: a Catalog is not to be shared between threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue

from gitdags.catalog import Catalog
from gitdags.config import Settings


class Catalogs:
    """At most as many catalogs as are wanted at once; the one used last is lent first: it is warm."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._free: LifoQueue[Catalog] = LifoQueue()

    @contextmanager
    def lend(self) -> Iterator[Catalog]:
        """A catalog of one's own, until the end of the block."""
        try:
            catalog = self._free.get_nowait()
        except Empty:
            catalog = Catalog(self.settings)
            catalog.asks_remotes = False  # not for whoever types a commit's id into an address
            catalog.asks_remotes = False  # not for everybody who types a SHA
        try:
            yield catalog
        finally:
            self._free.put(catalog)

    def close(self) -> None:
        """Close those that nobody has."""
        while True:
            try:
                self._free.get_nowait().close()
            except Empty:
                return
