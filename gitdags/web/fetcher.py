"""Repositories fetched in the background, one at a time, and what moved in them indexed."""

from __future__ import annotations

import logging
import threading
from queue import Queue

from gitdags.errors import GitdagsError
from gitdags.web.catalogs import Catalogs
from gitdags.web.indexer import Busy, Indexer

log = logging.getLogger("gitdags.web")


class Fetcher:
    """A queue and one thread, which begins with the first repository and ends with the process."""

    def __init__(self, catalogs: Catalogs, indexer: Indexer) -> None:
        self._catalogs, self._indexer = catalogs, indexer
        self._queue: Queue[tuple[str, str]] = Queue()
        self._waiting: set[str] = set()
        self._changed = threading.Condition()
        self._busy = False
        self._thread: threading.Thread | None = None

    def ask(self, repo: str, by: str) -> None:
        """See to it that a repository is fetched after this moment."""
        with self._changed:
            if repo in self._waiting:
                return  # a fetch that has not begun will bring this too
            self._waiting.add(repo)
            self._queue.put((repo, by))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="fetcher", daemon=True)
                self._thread.start()

    def idle(self, seconds: float) -> bool:
        """Wait until nothing is left to fetch; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def _work(self) -> None:
        while True:
            name, by = self._queue.get()
            with self._changed:
                self._waiting.discard(name)
                self._busy = True
            try:
                with self._catalogs.lend() as catalog:
                    moved = catalog.fetch(catalog.repository(name), by=by, source="webhook")
                log.info("fetched", extra={"repo": name, "moved": len(moved)})
                for _, _, new in moved:
                    if new is not None:
                        self._index(name, new)
            except GitdagsError as error:
                log.warning("fetch failed", extra={"repo": name, "error": error.message})
            except Exception:  # the thread serves the next one all the same
                log.exception("fetch failed", extra={"repo": name})
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _index(self, name: str, commit: str) -> None:
        try:
            self._indexer.ask(name, commit)
        except Busy:
            log.warning("index queue is full", extra={"repo": name, "commit": commit})
