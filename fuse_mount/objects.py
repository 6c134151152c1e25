"""Reading from the repositories on a shelf, with what goes wrong said as faults and logged once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from fuse_mount.faults import Damaged, Gone
from fuse_mount.nodes import Directory
from fuse_mount.repositories import Opened, Shelf, Unavailable
from gitdags.errors import GitdagsError
from gitdags.git import CorruptObject, MissingObject, Repository
from gitdags.model import Entry

log = logging.getLogger("gitdags.mount")
T = TypeVar("T")

_SAID = 10_000  # faults remembered as said


class Objects:
    """Commits, trees and blobs by repository. Raises Damaged and Gone, whatever was wrong."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._said: set[str] = set()

    def opened(self, name: str) -> Opened:
        """The repository of that name, open."""
        try:
            return self.shelf[name]
        except KeyError:
            raise Gone from None  # taken off the register
        except Unavailable:
            raise Damaged from None

    def tree(self, folder: Directory) -> Mapping[bytes, Entry]:
        """The entries of a folder of a commit."""
        opened = self.opened(folder.repository)
        try:
            return opened.git.tree(folder.tree)
        except (MissingObject, CorruptObject):
            return self.read(opened, lambda git: git.tree(folder.tree), folder)

    def read(
        self, opened: Opened, action: Callable[[Repository], T], within: Directory | None = None
    ) -> T:
        """What an action yields. Raises Gone if the commit it happens within is no longer there."""
        try:
            return opened.read(action)
        except (MissingObject, CorruptObject) as error:
            if within is not None and opened.git.peel(within.commit) is None:
                raise Gone from None
            raise self.damaged(opened.known.name, error) from None

    def damaged(self, repository: str, error: GitdagsError) -> Damaged:
        """The fault to raise for an error, which is logged once, however often it is met."""
        if error.message not in self._said:
            if len(self._said) > _SAID:
                self._said.clear()
            self._said.add(error.message)
            log.error("%s: %s", repository, error.message)
        return Damaged()
