"""The file system, without a word of FUSE: nodes, look-ups, listings, attributes and bytes.

    /                     Root        the registered repositories
    /NAME                 RefFolder   refs by short name; names with slashes nest in RefFolders
    /NAME/main            RefLink     a link to ../NAME/<sha>, read anew at each use
    /NAME/<sha>           Directory   a commit's tree: never changes, may be cached forever
    /NAME/<sha>/dags      Alias       only where the DAG folder has another name

What is above a commit is here, what is below it in `commits`. Adapters turn paths or the kernel's
node ids into these nodes and the exceptions below into errors. Nothing here takes long: what might,
raises `questions.Pending` first. One thread at a time.
"""

from __future__ import annotations

import contextlib
import re
import stat
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from fuse_mount.blobs import Blobs
from fuse_mount.commits import LINK, Commits
from fuse_mount.faults import TooLong, TooSlow
from fuse_mount.nodes import (
    Alias,
    Directory,
    File,
    Folder,
    Node,
    RefFolder,
    RefLink,
    Root,
    Submodule,
    derived,
    file_time,
)
from fuse_mount.objects import Objects
from fuse_mount.questions import NO_ANSWER, Answer, Pending, Question
from fuse_mount.refs import NAME_MAX, exact, may_be_expression
from fuse_mount.repositories import MountedRepository, Opened, Shelf
from gitdags.errors import GitdagsError
from gitdags.git import is_sha

_LISTINGS = 16  # folders of refs kept ready; a listing of 60,000 is asked for in 2,500 pieces
FOLDER = stat.S_IFDIR | 0o555
"""st_mode of every folder"""


class Attributes(NamedTuple):
    """What stat(2) tells of a node."""

    ino: int
    mode: int
    size: int
    seconds: int
    nanoseconds: int


class Vfs:
    """The nodes below one mountpoint.

    ``blob_memory`` bounds the bytes kept of files that are read in pieces; a larger file raises
    Pending for a copy on disk. ``lazy``: what may be a revision expression is a link at once, and
    whether it leads anywhere is found out when it is followed.
    """

    def __init__(self, shelf: Shelf, *, blob_memory: int = 16 << 20, lazy: bool = False) -> None:
        self.shelf = shelf
        self._lazy = lazy
        self.root = Root()
        self._objects = Objects(shelf)
        self._commits = Commits(self._objects, self._ask, blob_memory)
        self._answers: Mapping[Question, Answer] = {}
        self._names: dict[int, tuple[object, list[tuple[int, bytes, int]]]] = {}

    @property
    def blobs(self) -> Blobs:
        """The bytes kept of files that are read in pieces."""
        return self._commits.blobs

    # ── questions ─────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def knowing(self, answers: Mapping[Question, Answer]) -> Iterator[None]:
        """Within it, these questions are answered and do not raise Pending."""
        self._answers = answers
        try:
            yield
        finally:
            self._answers = {}

    def _ask(self, question: Question) -> Answer:
        if question not in self._answers:
            raise Pending(question)
        return self._answers[question]

    def _ask_repositories(self) -> None:
        known = self._ask(Question("repositories"))
        if known is not NO_ANSWER:  # else what was known before goes on
            self.shelf.update(cast("list[MountedRepository]", known))

    # ── look-ups ──────────────────────────────────────────────────────────────────────────────

    def lookup(self, parent: Node, name: bytes) -> Node | None:
        """The node of that name in a folder, or None.

        Raises TooLong, Damaged, Gone, TooSlow, NotADirectoryError or Pending.
        """
        if len(name) > NAME_MAX:
            raise TooLong
        if not name:
            return None
        if type(parent) is Directory:
            return self._commits.lookup(parent, name)
        if type(parent) is RefFolder:
            return self._lookup_ref(parent, name)
        if type(parent) is Root:
            return self._lookup_repository(name)
        if type(parent) is Submodule:
            return None
        raise NotADirectoryError

    def _lookup_repository(self, name: bytes) -> RefFolder | None:
        text = _text(name)
        if text is None or not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", text):
            return None
        if text not in self.shelf:
            self._ask_repositories()
        return RefFolder(derived(b"repository", name), text, b"") if text in self.shelf else None

    def _lookup_ref(self, parent: RefFolder, name: bytes) -> Node | None:
        whole = parent.prefix + b"/" + name if parent.prefix else name
        rev = _text(whole)
        if rev is None or len(rev) > 1_024 or name in (b".", b".."):
            return None
        opened = self._opened(parent.repository)
        if not parent.prefix and is_sha(rev):
            return self._lookup_object(opened, parent, rev)
        link = RefLink(derived(b"rev", parent.id, name), parent.repository, whole)
        if exact(opened.git, rev) is not None:
            return link
        if self._ref_folder(opened, whole) is not None:
            return RefFolder(derived(b"refs", parent.id, name), parent.repository, whole)
        if self._lazy and may_be_expression(rev):
            return link
        return link if self._commit_of(opened, link) is not None else None

    def _lookup_object(self, opened: Opened, parent: RefFolder, sha: str) -> Node | None:
        commit = opened.git.peel(sha)
        if commit is None:
            return None
        if commit != sha:  # an annotated tag's own id
            return RefLink(
                derived(b"rev", parent.id, sha.encode()), parent.repository, sha.encode()
            )
        return self._commits.folder(opened, derived(b"commit", parent.id, sha.encode()), sha)

    def _commit_of(self, opened: Opened, link: RefLink) -> str | None:
        """The commit a link leads to now; Pending for what is neither a ref nor an object."""
        rev = link.rev.decode()
        if is_sha(rev):
            return opened.git.peel(rev)
        found = exact(opened.git, rev)
        if found is not None:
            return found
        if not may_be_expression(rev):
            return None  # most names that are asked for in vain: .git, __init__.py
        answer = self._ask(Question("commit", opened.known.name, rev))
        if answer is NO_ANSWER:
            raise TooSlow
        return cast("str | None", answer)

    # ── listings ──────────────────────────────────────────────────────────────────────────────

    def listing(self, folder: Directory) -> list[tuple[bytes, Node]]:
        """(name, node) of all in a folder of a commit, in Git's order."""
        return self._commits.listing(folder)

    def refresh(self) -> None:
        """Asks which repositories there are, before the root is listed. Raises Pending."""
        self._ask_repositories()

    def names(self, folder: Folder) -> list[tuple[int, bytes, int]]:
        """(id, name, st_mode) of what a folder outside a commit lists, by id.

        Ordered by id, so that an id says where to go on when names come and go in between. Raises
        Damaged.
        """
        if type(folder) is Root:
            found = [
                (derived(b"repository", name.encode()), name.encode(), FOLDER)
                for name in self.shelf.names()
            ]
        elif type(folder) is RefFolder:
            refs = self._opened(folder.repository).refs
            version, cached = self._names.get(folder.id, (None, []))
            if version == refs.changed():
                return cached
            listed = self._ref_folder(self._opened(folder.repository), folder.prefix) or {}
            kinds = {True: (b"rev", LINK), False: (b"refs", FOLDER)}
            found = [
                (derived(kinds[is_ref][0], folder.id, name), name, kinds[is_ref][1])
                for name, is_ref in listed.items()
            ]
            if len(self._names) >= _LISTINGS:
                del self._names[next(iter(self._names))]
            self._names[folder.id] = refs.changed(), sorted(found)
        else:
            return []
        return sorted(found)

    # ── attributes and bytes ──────────────────────────────────────────────────────────────────

    def attributes(self, node: Node) -> Attributes:
        """What stat(2) tells of a node. Raises Damaged where its repository cannot be read."""
        if type(node) is File:
            return Attributes(node.id, node.mode, node.size, *file_time(node.oid))
        if type(node) is Directory or type(node) is Submodule:
            return Attributes(node.id, FOLDER, 0, node.time, 0)
        if type(node) is RefFolder:
            # Not a time: whatever differs after a change makes the kernel read the folder again.
            return Attributes(node.id, FOLDER, 0, self._opened(node.repository).refs.changed(), 0)
        if type(node) is RefLink:
            return Attributes(node.id, LINK, 40 + 3 * node.rev.count(b"/"), 0, 0)
        if type(node) is Alias:
            return Attributes(node.id, LINK, len(node.target), node.time, 0)
        # The root: which repositories are registered is not looked up for this. A time that moves
        # makes the kernel read the listing anew, and no more often than these attributes live.
        return Attributes(node.id, FOLDER, 0, int(time.time()), 0)

    def target(self, node: Node) -> bytes | None:
        """Where a link leads; None for one that leads nowhere any more.

        Raises TooLong, Damaged, Pending, or OSError (EINVAL) for what is no link.
        """
        if type(node) is RefLink:
            commit = self._commit_of(self._opened(node.repository), node)
            return None if commit is None else b"../" * node.rev.count(b"/") + commit.encode()
        if type(node) is Alias:
            return node.target
        if type(node) is File and node.mode == LINK:
            return self._commits.target(node)
        raise ValueError("no link")

    def read(self, node: Node, offset: int, size: int) -> bytes:
        """Bytes of a file; fewer than ``size`` only at its end.

        Raises Damaged, Pending (a file larger than may be kept), IsADirectoryError.
        """
        if type(node) is not File:
            raise IsADirectoryError
        return self._commits.read(node, offset, size)

    def details(self, node: Node) -> dict[bytes, bytes]:
        """Extended attributes: where in Git a node comes from."""
        if type(node) is File:
            return {b"user.git.blob": node.oid.encode()}
        if type(node) is Directory:
            return {b"user.git.commit": node.commit.encode(), b"user.git.tree": node.tree.encode()}
        return {}

    # ── repositories ──────────────────────────────────────────────────────────────────────────

    def _opened(self, name: str) -> Opened:
        return self._objects.opened(name)

    def _ref_folder(self, opened: Opened, prefix: bytes) -> Mapping[bytes, bool] | None:
        try:
            return opened.refs.folder(prefix)
        except GitdagsError as error:
            raise self._objects.damaged(opened.known.name, error) from None


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None
