"""What follows a move of a ref: it is recorded, its commits are kept and parsed, waiting stamps taken in.

`attend` is what a hook starts, once per repository at a time. Whatever fails is one line in a log beside
the moves; those that were not taken in are taken by whoever asks for deployments next.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gitdags import hooks
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.errors import GitdagsError, shown
from gitdags.hooks import Inbox
from gitdags.model import Commit, Deployment, RegisteredRepository

MOST = 200
"""Commits of one move that are parsed unasked, the newest; `gitdags index A..B` does more."""
_LOG_SIZE = 256 << 10


class NotRegistered(GitdagsError):
    """Hooks of a repository that gitdags does not know (any more)."""


def attend(settings: Settings, common: Path) -> None:
    """Take in the moves of the repository with this common Git directory until none is waiting."""
    inbox = Inbox(common)
    if not inbox.is_there:
        return  # uninstalled since
    log = Log(inbox.folder / "handler.log")
    with _alone(inbox) as announce, log.errors(), Catalog(settings) as catalog:
        repo = next((r for r in catalog.repositories() if hooks.common_dir(r.path) == common), None)
        if repo is None:
            raise NotRegistered(f"no repository is registered at {common}", hint="gitdags init")
        parse, drained = deque[Commit](), True
        while True:
            if inbox.waiting():
                moves = catalog.receive(repo)
                log.write(f"{len(moves)} moves recorded")
                parse.extend(to_parse(catalog, repo, moves))
                drained = False
            elif parse:
                with log.errors():
                    catalog.history(repo).index([parse.popleft()])
            elif not drained:
                with log.errors():  # runs that began since may have waited for these commits
                    catalog.drain()
                    catalog.settle(again=True)
                drained = True
            elif not announce(over=True):
                break


def to_parse(
    catalog: Catalog, repo: RegisteredRepository, moves: Sequence[Deployment]
) -> list[Commit]:
    """The commits that moves brought: where refs are now first, then what lies between, newest first."""
    opened = catalog.opened(repo)
    tips, between = dict[str, Commit](), dict[str, Commit]()
    for move in reversed(moves):
        if move.new is None or opened.peel(move.new) is None:
            continue
        tips[move.new] = opened.commit(move.new)
        if move.old is not None and opened.peel(move.old) is not None:
            path = opened.log(move.new, hide=move.old, full=True)
            between |= {commit.sha: commit for commit in itertools.islice(path, MOST)}
    return list((tips | between).values())[: max(MOST, len(tips))]


@contextlib.contextmanager
def _alone(inbox: Inbox) -> Iterator[Announce]:
    """Wait until no other process attends to the repository, and say so to the hooks."""
    with open(inbox.folder / "handler.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        announce = Announce(inbox)
        announce(over=False)
        try:
            yield announce
        finally:
            announce.file.unlink(missing_ok=True)


class Announce:
    """The file by which hooks know that they need not start another process."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox, self.file = inbox, inbox.folder / "handler"

    def __call__(self, *, over: bool) -> bool:
        """Take it away, then look once more: whether there is work after all, and it is back.

        A hook writes its line before it looks for the file: either it misses the file, or we see
        its line.
        """
        if over:
            self.file.unlink(missing_ok=True)
            if not self.inbox.waiting():
                return False
        self.file.write_text(f"{os.getpid()}\n")
        return True


class Log:
    """A file of dated lines, cut when it gets long."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_size > _LOG_SIZE:
                file.unlink()

    def write(self, text: str) -> None:
        """Add a line."""
        with open(self._file, "a") as lines:
            lines.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {shown(text, 500)}\n")

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """A known error becomes a line."""
        try:
            yield
        except GitdagsError as error:
            self.write(f"error: {error.message}" + (f"; hint: {error.hint}" if error.hint else ""))
