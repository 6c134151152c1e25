"""Which repositories the mount shows, and each of them open. Knows refs and objects, no nodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fuse_mount.refs import RefTree
from gitdags.errors import GitdagsError
from gitdags.git import MissingObject, Repository

log = logging.getLogger("gitdags.mount")
T = TypeVar("T")

_REOPEN_INTERVAL = 1.0  # seconds; an object that is truly missing must not cost an open per read


@dataclass(frozen=True, slots=True)
class MountedRepository:
    """A repository as the mount shows it."""

    name: str
    path: str
    dags_folder: str
    """where its DAG files are, relative to a commit's folder; ``dags`` needs no alias"""


class Opened:
    """One repository, open; opened again when its packs may have been replaced."""

    def __init__(self, known: MountedRepository, tree_memory: int) -> None:
        self.known = known
        self._tree_memory = tree_memory
        self._reopened = 0.0
        self._open()

    def _open(self) -> None:
        self.git = Repository(self.known.path, tree_memory=self._tree_memory)
        self.refs = RefTree(self.git)

    def read(self, action: Callable[[Repository], T]) -> T:
        """What an action on the repository yields, tried again on a fresh one if an object is missing.

        `git repack -ad` removes packs whose index libgit2 has open but not their data. Raises
        MissingObject when the object is not there either way.
        """
        try:
            return action(self.git)
        except MissingObject:
            now = time.monotonic()
            if now - self._reopened < _REOPEN_INTERVAL:
                raise
            self._reopened = now
            try:
                self.git = Repository(self.known.path, tree_memory=self._tree_memory)
            except GitdagsError as error:
                log.warning("%s: %s", self.known.name, error.message)
                raise MissingObject(error.message, error.hint) from None
            self.refs = RefTree(self.git)
            return action(self.git)


class Unavailable(Exception):
    """A repository that is registered but cannot be opened."""


class Shelf:
    """The registered repositories by name, opened at their first use.

    ``tree_memory`` bounds the parsed trees of all of them together, in bytes.
    """

    def __init__(self, known: Sequence[MountedRepository], *, tree_memory: int = 24 << 20) -> None:
        self._tree_memory = tree_memory
        self._known: dict[str, MountedRepository] = {}
        self._open: dict[str, Opened] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        self.version = 0
        self.update(known)

    def update(self, known: Sequence[MountedRepository]) -> None:
        """Takes the list of what is registered now; what is open and unchanged stays open."""
        fresh = {each.name: each for each in known}
        if fresh == self._known and self.version:
            return
        self._known = fresh
        self._open = {n: o for n, o in self._open.items() if fresh.get(n) == o.known}
        self._failed.clear()
        self.version += 1

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def names(self) -> list[str]:
        """The names that are registered, sorted."""
        return sorted(self._known)

    def __getitem__(self, name: str) -> Opened:
        """The open repository. Raises KeyError if it is not registered, else Unavailable."""
        found = self._open.get(name)
        if found is not None:
            return found
        known = self._known[name]
        failed, reason = self._failed.get(name, (0.0, ""))
        if failed and time.monotonic() - failed < _REOPEN_INTERVAL:
            raise Unavailable(reason)
        try:
            share = max(4 << 20, self._tree_memory // len(self._known))
            found = self._open[name] = Opened(known, share)
        except GitdagsError as error:
            if error.message != reason:
                log.error("%s: %s", name, error.message)
            self._failed[name] = (time.monotonic(), error.message)
            raise Unavailable(error.message) from None
        return found
