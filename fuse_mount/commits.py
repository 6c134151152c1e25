"""What is below a commit's full SHA: folders, files, links, submodules. Never changes; knows no refs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import cast

from fuse_mount.blobs import Blobs
from fuse_mount.faults import Damaged, TooLong, TooSlow
from fuse_mount.nodes import (
    Alias,
    Directory,
    File,
    Lost,
    Node,
    Submodule,
    derived,
    file_id,
    folder_id,
)
from fuse_mount.objects import Objects
from fuse_mount.questions import NO_ANSWER, Answer, Question
from fuse_mount.refs import NAME_MAX
from fuse_mount.repositories import Opened
from gitdags.git import MissingObject
from gitdags.model import MODE_EXECUTABLE, MODE_LINK, MODE_SUBMODULE, MODE_TREE, Entry

LINK_MAX = 4_095
"""Bytes of a link's target: the kernel reads one page."""

LINK = stat.S_IFLNK | 0o777
_REGULAR = stat.S_IFREG | 0o444
_MODES = {MODE_LINK: LINK, MODE_EXECUTABLE: stat.S_IFREG | 0o555}


class Commits:
    """The nodes below commits. ``ask`` answers a question at once or raises Pending.

    ``blob_memory`` bounds the bytes kept of files that are read in pieces.
    """

    def __init__(
        self, objects: Objects, ask: Callable[[Question], Answer], blob_memory: int
    ) -> None:
        self.blobs = Blobs(blob_memory)
        self._objects, self._ask = objects, ask
        self._salts: dict[str, int] = {}

    # ── folders ───────────────────────────────────────────────────────────────────────────────

    def folder(self, opened: Opened, number: int, sha: str, depth: int = 0) -> Directory:
        """The folder of a commit that is there. Raises Damaged."""
        commit = self._objects.read(opened, lambda git: git.commit(sha))
        at = int(commit.committed_at.timestamp())
        return Directory(number, opened.known.name, sha, commit.tree, max(0, at), depth)

    def lookup(self, parent: Directory, name: bytes) -> Node | None:
        """The node of that name, or None. Raises Damaged, Gone, TooSlow or Pending."""
        entry = self._objects.tree(parent).get(name)
        if entry is None:
            return self._alias(parent) if name == b"dags" and parent.depth == 0 else None
        if entry.mode == MODE_SUBMODULE:
            return self._submodule(parent, name, entry.oid)
        node = self._node(parent, name, entry)
        if type(node) is Lost:
            raise Damaged
        return node

    def listing(self, folder: Directory) -> list[tuple[bytes, Node]]:
        """(name, node) of all in a folder, in Git's order; the only place to meet Lost.

        Every submodule appears as Submodule here: finding out which repository has it would ask
        all of them, for each of what may be thousands.
        """
        return [
            (name, self._node(folder, name, entry))
            for name, entry in self._objects.tree(folder).items()
            if len(name) <= NAME_MAX
        ]

    def _node(self, parent: Directory, name: bytes, entry: Entry) -> Node:
        mode, oid = entry
        if mode == MODE_TREE:
            return subfolder(parent, name, oid)
        if mode == MODE_SUBMODULE:
            return Submodule(derived(b"submodule", parent.id, name), parent.time)
        return self._file(parent.repository, oid, _MODES.get(mode, _REGULAR))

    def _file(self, repository: str, oid: str, mode: int) -> File | Lost:
        salt = self._salts.get(repository)
        if salt is None:
            salt = self._salts[repository] = derived(b"repository", repository.encode())
        number = file_id(salt, oid, mode)
        opened = self._objects.opened(repository)
        try:
            size = opened.git.size(oid)
        except MissingObject:
            try:
                size = self._objects.read(opened, lambda git: git.size(oid))
            except Damaged:
                return Lost(number)
        return File(number, repository, oid, mode, size)

    def _submodule(self, parent: Directory, name: bytes, sha: str) -> Directory | Submodule:
        holder = self._ask(Question("holder", text=sha))
        if holder is NO_ANSWER:
            raise TooSlow
        if not isinstance(holder, str) or holder not in self._objects.shelf:
            return Submodule(derived(b"submodule", parent.id, name), parent.time)
        opened = self._objects.opened(holder)
        return self.folder(opened, folder_id(parent.id, name), sha, parent.depth + 1)

    def _alias(self, commit: Directory) -> Alias | None:
        opened = self._objects.opened(commit.repository)
        folder = opened.known.dags_folder.encode()
        if folder == b"dags":
            return None
        parts = [part for part in folder.split(b"/") if part not in (b"", b".")]
        target = b"/".join(parts)
        if parts:
            found = self._objects.read(opened, lambda git: git.find(commit.tree, target), commit)
            if found is None or not found.is_tree:
                return None
        return Alias(derived(b"alias", commit.id, folder), target or b".", commit.time)

    # ── bytes ─────────────────────────────────────────────────────────────────────────────────

    def target(self, link: File) -> bytes:
        """Where a link leads, as a checkout would write it. Raises TooLong or FileNotFoundError."""
        if link.size > LINK_MAX:
            raise TooLong
        target = self.read(link, 0, link.size).partition(b"\0")[0]
        if not target:  # symlink(2) refuses it, and the kernel would follow it to its own folder
            raise FileNotFoundError
        return target

    def read(self, file: File, offset: int, size: int) -> bytes:
        """Bytes of a file; fewer than ``size`` only at its end. Raises Damaged or Pending."""
        data = self.blobs.get(file.oid)
        if data is not None:
            return data[offset : offset + size]
        if file.size > self.blobs.limit:
            copy = self._ask(Question("content", file.repository, file.oid))
            if copy is NO_ANSWER:
                raise Damaged
            return os.pread(cast("int", copy), size, offset)
        opened = self._objects.opened(file.repository)
        data = self._objects.read(opened, lambda git: git.blob(file.oid))
        if offset == 0 and size >= len(data):  # the kernel keeps it; it will not be asked for again
            return data
        self.blobs.keep(file.oid, data)
        return data[offset : offset + size]


def subfolder(parent: Directory, name: bytes, tree: str) -> Directory:
    """A folder in a folder of a commit."""
    number, repository, commit, _, at, depth = parent
    return Directory(folder_id(number, name), repository, commit, tree, at, depth + 1)
