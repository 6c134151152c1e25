"""Commits parsed in the background, one at a time, and how far each is."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from queue import Queue

from gitdags.catalog import Catalog
from gitdags.errors import GitdagsError
from gitdags.web.catalogs import Catalogs

log = logging.getLogger("gitdags.web")

MOST = 200
"""Commits that may wait; past it, whoever asks is told to come again."""
_REMEMBERED = 60.0  # seconds that a failure is told before the commit is tried again


class Busy(GitdagsError):
    """Too many commits wait to be indexed."""

    http_status = 503


@dataclass(frozen=True, slots=True)
class Job:
    """One commit on its way into the store."""

    repo: str
    commit: str
    state: str
    """waiting, running, failed"""
    done: int = 0
    """files parsed"""
    total: int = 0
    """files to parse; 0 while that is not known"""
    error: str = ""
    hint: str = ""
    at: float = 0.0
    """of its last change, monotonic seconds"""


class Indexer:
    """A queue and one thread, which begins with the first commit and ends with the process."""

    def __init__(self, catalogs: Catalogs) -> None:
        self._catalogs = catalogs
        self._jobs: OrderedDict[tuple[str, str], Job] = OrderedDict()
        self._queue: Queue[tuple[str, str] | None] = Queue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, repo: str, commit: str) -> Job:
        """See to it that a commit gets indexed; where that is. Raises Busy."""
        key = (repo, commit)
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not (
                job.state == "failed" and time.monotonic() - job.at > _REMEMBERED
            ):
                return job
            if sum(one.state == "waiting" for one in self._jobs.values()) >= MOST:
                raise Busy(
                    f"{MOST} commits wait to be indexed", hint=f"gitdags -r {repo} index {commit}"
                )
            job = self._jobs[key] = Job(repo, commit, "waiting", at=time.monotonic())
            self._queue.put(key)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="indexer", daemon=True)
                self._thread.start()
            return job

    def state(self, repo: str, commit: str) -> Job | None:
        """Where a commit is; None where nobody asked for it, or it is done."""
        with self._lock:
            return self._jobs.get((repo, commit))

    def waiting(self) -> int:
        """Commits not done yet."""
        with self._lock:
            return sum(one.state != "failed" for one in self._jobs.values())

    def close(self) -> None:
        """Take no more; what is under way is left to end with the process."""
        self._queue.put(None)

    def _work(self) -> None:
        while (key := self._queue.get()) is not None:
            with self._catalogs.lend() as catalog:
                self._index(catalog, *key)

    def _index(self, catalog: Catalog, repo: str, commit: str) -> None:
        began = time.monotonic()
        self._change(repo, commit, state="running")

        def heard(done: int, total: int) -> None:
            self._change(repo, commit, done=done, total=total)

        try:
            report = catalog.index(catalog.repository(repo), commit, files=heard)
        except GitdagsError as error:
            self._change(repo, commit, state="failed", error=error.message, hint=error.hint)
            log.warning(
                "index failed", extra={"repo": repo, "commit": commit, "error": error.message}
            )
        except Exception as error:  # the thread serves the next commit all the same
            self._change(repo, commit, state="failed", error=f"a bug: {type(error).__name__}")
            log.exception("index failed", extra={"repo": repo, "commit": commit})
        else:
            with self._lock:
                self._jobs.pop((repo, commit), None)
            seconds = round(time.monotonic() - began, 3)
            told = {"repo": repo, "commit": commit, "parsed": report.parsed, "seconds": seconds}
            log.info("indexed", extra=told)

    def _change(self, repo: str, commit: str, **fields: object) -> None:
        with self._lock:
            job = self._jobs[repo, commit]
            self._jobs[repo, commit] = replace(job, at=time.monotonic(), **fields)  # type: ignore[arg-type]  # fields of Job
