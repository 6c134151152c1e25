"""Where the listener leaves its records: the spool, at once; another gitdags, by and by.

Never raises and never waits for anything but the local disk. A disk that refuses is said once, and
once more when it takes records again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitdags.airflow.remote import Refused, Remote, Unreachable
from gitdags.errors import shown
from gitdags.spool import Spool

log = logging.getLogger("gitdags.listener")

SYNC_SECONDS = 0.1
"""How long a record of the scheduler's may be only in the kernel's memory."""

# Of a request: a gitdags takes 1,000 records and a mebibyte.
_MOST_RECORDS, _MOST_BYTES = 500, 512 << 10
_NEVER = {400, 413, 422}
"""Answers to records that no later request will have taken."""


class Outbox:
    """Takes records for a spool. ``remote``: where they are handed on to; None: a drainer comes."""

    def __init__(self, spool: Spool, remote: Remote | None = None) -> None:
        self._spool, self._remote = spool, remote
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """No threads yet, as in a process that was just forked; what they hold is not ours."""
        self._syncing = self._forwarding = self._more = False
        self._lock = threading.Lock()
        """for the decision to end, or to start, the thread that hands on"""
        self._idle = threading.Event()
        self._idle.set()
        self._complaints: set[str] = set()

    def put(self, record: Mapping[str, Any], *, sync: bool) -> None:
        """Write a record. ``sync``: it is on the disk when this returns; else within SYNC_SECONDS."""
        try:
            self._spool.append(record, sync=sync)
        except OSError as error:
            self._complain(
                "spool",
                f"runs are not stamped: cannot write {error.filename or self._spool.folder}: "
                f"{error.strerror} (said once; the next will be said to be written)",
            )
            return
        self._mended("spool", "runs are stamped again")
        if not sync and not self._syncing:
            self._syncing = True
            self._start(self._sync)
        if self._remote is not None and self._wants_thread():
            self._start(self._forward)

    def settle(self, seconds: float) -> None:
        """Wait until everything is handed on, for so long at most: this process is about to end."""
        self._idle.wait(seconds)

    def _start(self, what: Any) -> None:
        try:
            threading.Thread(target=what, name="gitdags-outbox", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            what()

    def _sync(self) -> None:
        time.sleep(SYNC_SECONDS)
        self._syncing = False  # before the sync: a record that comes now starts another
        try:
            self._spool.sync()
        except OSError as error:
            self._complain("sync", f"stamps may be lost in a power cut: {error.strerror}")

    def _wants_thread(self) -> bool:
        """Note that there is more to hand on; whether nobody is at it."""
        with self._lock:
            self._more = True
            if self._forwarding:
                return False
            self._forwarding = True
            self._idle.clear()
            return True

    def _goes_on(self) -> bool:
        """Whether more has come since the thread last looked; else it ends."""
        with self._lock:
            more, self._more = self._more, False
            if not more:
                self._forwarding = False
                self._idle.set()
            return more

    def _forward(self) -> None:
        """Hand on what the spool has until nothing comes any more; what fails stays in it."""
        try:
            while self._goes_on():
                self._forward_all()
        except Exception:
            log.exception("gitdags: stamps stay in the spool")
            with self._lock:
                self._forwarding = False
                self._idle.set()

    def _forward_all(self) -> None:
        assert self._remote is not None
        try:
            for taken in self._spool.take():
                for batch in _batches(taken.records):
                    self._post(batch)
                self._spool.done(taken)
            self._mended("remote", f"stamps reach {self._remote.url} again")
        except Unreachable as error:
            self._complain("remote", f"stamps stay in {self._spool.folder}: {error.message}")
        except OSError as error:
            self._complain("remote", f"stamps stay in the spool: {error.strerror}")

    def _post(self, batch: Sequence[dict[str, Any]]) -> None:
        """Hand on a batch; of one that is refused, each by itself, so that one does not hold up all."""
        assert self._remote is not None
        try:
            self._remote.post(batch)
        except Refused as error:
            if error.status not in _NEVER:
                raise
            if len(batch) > 1:
                for record in batch:
                    self._post([record])
                return
            self._complain("refused", f"a stamp was refused, and is kept: {error.message}")
            self._spool.keep("refused", [{**batch[0], "refused": error.message}])

    def _complain(self, what: str, text: str) -> None:
        if what not in self._complaints:
            self._complaints.add(what)
            log.error("gitdags: %s", shown(text, 400))

    def _mended(self, what: str, text: str) -> None:
        if what in self._complaints:
            self._complaints.discard(what)
            log.info("gitdags: %s", text)


def _batches(records: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The records in order, so many at once as a request may have."""
    batch: list[dict[str, Any]] = []
    size = 0
    for record in records:
        length = len(json.dumps(record, default=str))
        if batch and (len(batch) >= _MOST_RECORDS or size + length > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch
