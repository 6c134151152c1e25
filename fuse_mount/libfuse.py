"""The adapter over libfuse 3 and mfusepy, for where the kernel's protocol cannot be spoken directly.

Paths come in, `vfs` answers, exceptions become errnos. libfuse's high-level interface has one
lifetime for all names. Names that are there are kept for half a minute and absent ones not at all:
a new ref is found at once, and where a ref leads is asked anew each time, as the kernel keeps no
link's target. Only the name of a deleted ref stays that long, and leads nowhere.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from fuse_mount import device
from fuse_mount import protocol as p
from fuse_mount.errnos import number_of
from fuse_mount.metrics import Metrics
from fuse_mount.nodes import Directory, File, Lost, Node, Root, Submodule
from fuse_mount.questions import TOPICS, Answer, Pending, Question
from fuse_mount.standin import StandIns
from fuse_mount.vfs import Vfs

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger("gitdags.mount")
T = TypeVar("T")

_LIFETIME = 30.0
_PATHS = 20_000  # paths below commits whose node is kept; about 300 bytes each
_FILL_PLUS = 2  # FUSE_FILL_DIR_PLUS: the kernel need not ask for each name
_PARALLEL_LOOKUPS = 1 << 18  # FUSE_CAP_PARALLEL_DIROPS; libfuse passes it on from 3.17 on
_SONAMES = ("libfuse3.so.4", "libfuse3.so.3")


class NoLibrary(device.NoDevice):
    """libfuse 3 or mfusepy is not installed."""


@functools.cache
def library() -> ModuleType:
    """mfusepy, bound to libfuse 3. Raises NoLibrary; never takes libfuse 2, which it would prefer."""
    for name in _SONAMES:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        os.environ["FUSE_LIBRARY_PATH"] = name
        break
    else:
        raise NoLibrary("libfuse 3 is not installed", hint="apt-get install fuse3 libfuse3-3")
    try:
        import mfusepy
    except (ImportError, OSError, AttributeError) as error:
        raise NoLibrary(
            f"mfusepy cannot be used: {error}", hint="pip install 'mfusepy>=3,<4'"
        ) from None
    if mfusepy.fuse_version_major != 3:
        raise NoLibrary("mfusepy was loaded with libfuse 2", hint="unset FUSE_LIBRARY_PATH")
    return cast("ModuleType", mfusepy)


class Listed(NamedTuple):
    """A name in a folder, and what stat(2) tells of it: all, or inode number and type."""

    name: bytes
    attributes: dict[str, int]
    whole: bool = False


class Listing(NamedTuple):
    """A folder's names; ``whole`` ones may be asked for in pieces, as they do not change."""

    names: list[Listed]
    whole: bool = False


class Adapter:
    """The operations mfusepy calls, by path; every one translates and does no more.

    Within ``standing_in()`` somebody else answers, while this thread waits for a slow answer.
    """

    use_ns = True

    def __init__(
        self,
        vfs: Vfs,
        ask: Callable[[Question], Answer],
        *,
        xattr: bool = False,
        ready: Callable[[], None] = lambda: None,
        standing_in: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.vfs = vfs
        self.standing_in = standing_in
        self.metrics = Metrics()
        self._ask, self._ready = ask, ready
        self._owner = os.getuid(), os.getgid()
        self._nodes: dict[bytes, Node] = {}
        self._told: dict[int, float] = {}
        self._long: tuple[Directory | None, Listing] = None, Listing([])
        self._lock = threading.Lock()
        self._queues = {topic: threading.RLock() for topic in TOPICS}
        if xattr:  # mfusepy registers what is there; without them the kernel asks once and no more
            self.getxattr, self.listxattr = self._getxattr, self._listxattr

    # ── operations ────────────────────────────────────────────────────────────────────────────

    def init_with_config(self, connection: Any, config: Any) -> None:
        """Called before the first request."""
        config.entry_timeout = config.attr_timeout = _LIFETIME
        config.negative_timeout = 0.0
        config.kernel_cache = config.use_ino = 1
        connection.want |= connection.capable & _PARALLEL_LOOKUPS
        self._ready()

    def getattr(self, path: str, handle: Any = None) -> dict[str, int]:
        """stat(2)."""
        return self._do(p.GETATTR, lambda: self._stat(self._node(path)))

    def readlink(self, path: str) -> str:
        """Where a link leads."""
        target = self._do(p.READLINK, lambda: self.vfs.target(self._node(path)))
        if target is None:
            raise OSError(errno.ENOENT, path)
        return target.decode("utf-8", "surrogateescape")

    def open(self, path: str, flags: int) -> int:
        """Never asked again after the first time: open(2) and close(2) cost no request."""
        raise OSError(errno.ENOSYS, path)

    def opendir(self, path: str) -> int:
        """Needed by libfuse, which keeps the listing under the handle."""
        return 0

    def read(self, path: str, size: int, offset: int, handle: Any) -> bytes:
        """Bytes of a file."""
        return self._do(p.READ, lambda: self.vfs.read(self._node(path), offset, size))

    def readdir(self, path: str, offset: int) -> Listing:
        """All in a folder."""
        return self._do(p.READDIR, lambda: self._list(path, offset))

    def statfs(self, path: str) -> dict[str, int]:
        """No space; names of at most 255 bytes."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255}

    def _getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        value = self._do(p.GETXATTR, lambda: self.vfs.details(self._node(path)).get(name.encode()))
        if value is None:
            raise OSError(errno.ENODATA, path)
        return value

    def _listxattr(self, path: str) -> list[str]:
        details = self._do(p.LISTXATTR, lambda: self.vfs.details(self._node(path)))
        return [name.decode() for name in details]

    # ── paths ─────────────────────────────────────────────────────────────────────────────────

    def lasting(self, path: str) -> bool:
        """Whether the kernel may keep a folder's listing."""
        return type(self._do(p.OPENDIR, lambda: self._node(path))) is Directory

    def _node(self, path: str) -> Node:
        return self._walk(path.encode("utf-8", "surrogateescape").strip(b"/"))

    def _walk(self, path: bytes) -> Node:
        known = self._nodes.get(path)
        if known is not None:
            return known
        if not path:
            return self.vfs.root
        parent, _, name = path.rpartition(b"/")
        node = self.vfs.lookup(self._walk(parent), name)
        if node is None:
            raise FileNotFoundError
        if type(node) is Directory:  # files are as quickly found in their folder
            if len(self._nodes) >= _PATHS:
                self._nodes.clear()
            self._nodes[path] = node
        return node

    def _stat(self, node: Node) -> dict[str, int]:
        ino, mode, size, seconds, nanoseconds = self.vfs.attributes(node)
        at = seconds * 10**9 + nanoseconds
        return {
            "st_ino": ino, "st_mode": mode, "st_size": size, "st_nlink": 1,
            "st_uid": self._owner[0], "st_gid": self._owner[1], "st_blocks": (size + 511) >> 9,
            "st_atime": at, "st_mtime": at, "st_ctime": at,
        }  # fmt: skip

    def _list(self, path: str, offset: int) -> Listing:
        folder = self._node(path)
        if type(folder) is Directory:
            return self._list_commit(folder, offset)
        if type(folder) is Root:
            self.vfs.refresh()
        names = [] if type(folder) is Submodule else self.vfs.names(cast("Any", folder))
        found = [Listed(name, {"st_ino": ino, "st_mode": mode}) for ino, name, mode in names]
        return Listing(_dots(folder) + found)

    def _list_commit(self, folder: Directory, offset: int) -> Listing:
        """With all attributes, unless the kernel has just been told them.

        libfuse before 3.16 does not have it keep listings; then each pass asks for each again.
        """
        if offset and self._long[0] == folder:  # a long one is asked for in many pieces
            return self._long[1]
        now = time.monotonic()
        whole = offset > 0 or now - self._told.get(folder.id, -_LIFETIME) > _LIFETIME / 2
        found = [self._listed(*each, whole=whole) for each in self.vfs.listing(folder)]
        listing = Listing(_dots(folder) + found, whole)
        if whole:
            if len(self._told) >= _PATHS:
                self._told.clear()
            self._told[folder.id] = now
            self._long = folder, listing
        return listing

    def _listed(self, name: bytes, node: Node, *, whole: bool) -> Listed:
        if type(node) is Directory or type(node) is File:
            if whole:
                return Listed(name, self._stat(node), whole=True)
            mode = node.mode if type(node) is File else stat.S_IFDIR
            return Listed(name, {"st_ino": node.id, "st_mode": mode})
        mode = stat.S_IFREG if type(node) is Lost else stat.S_IFDIR
        return Listed(name, {"st_ino": node.id, "st_mode": mode})

    def _do(self, opcode: int, action: Callable[[], T]) -> T:
        """What an action yields, slow answers waited for; raises OSError for what it raises."""
        start = perf_counter_ns()
        try:
            return self._answered(action, {})
        except Exception as error:
            number = number_of(error, opcode)
            self.metrics.errors[number] += 1
            raise OSError(number, os.strerror(number)) from None
        finally:
            self.metrics.record(opcode, perf_counter_ns() - start)

    def _answered(self, action: Callable[[], T], answers: Mapping[Question, Answer]) -> T:
        """What an action yields; while it waits for a slow answer, other threads go on."""
        with self._lock, self.vfs.knowing(answers):
            try:
                return action()
            except Pending as pending:
                question = pending.question
        with ExitStack() as used:  # the queue is held until then: the next answer may close a copy
            with self.standing_in():
                used.enter_context(self._queues[question.topic])
                answers = {**answers, question: self._ask(question)}
            return self._answered(action, answers)


def _dots(folder: Node) -> list[Listed]:
    """An entry without an inode number would be skipped."""
    return [
        Listed(name, {"st_ino": number, "st_mode": stat.S_IFDIR})
        for name, number in ((b".", folder.id), (b"..", 1))
    ]


def serve(adapter: Adapter, mountpoint: str, *, allow_other: bool) -> None:
    """Mounts and serves until unmounted. Raises MountFailed."""
    mfusepy = library()

    class Fuse(mfusepy.FUSE):  # type: ignore[name-defined, misc]  # the class of a module found late
        """mfusepy's, but listings of commits stay in the kernel and carry all attributes."""

        def opendir(self, path: bytes, info: Any) -> int:
            if adapter.lasting(path.decode("utf-8", "surrogateescape")):
                info.contents.keep_cache = info.contents.cache_readdir = 1
            return 0

        def readdir_fuse_3(
            self, path: bytes, buffer: Any, add: Any, offset: int, info: Any, flags: int
        ) -> int:
            names, whole = adapter.readdir(path.decode("utf-8", "surrogateescape"), offset)
            status = mfusepy.c_stat()
            for place, each in enumerate(names[offset:], offset + 1):
                if each.whole:
                    mfusepy.set_st_attrs(status, each.attributes, use_ns=True)
                else:
                    status.st_ino, status.st_mode = each.attributes.values()
                how = _FILL_PLUS if each.whole else 0
                if add(buffer, each.name, status, place if whole else 0, how) and whole:
                    break
            return 0

    adapter.standing_in = StandIns(mfusepy._libfuse).serving
    options: dict[str, Any] = {"allow_other": True} if allow_other else {}
    try:
        Fuse(
            adapter, mountpoint, foreground=True, nothreads=True, ro=True, nosuid=True, nodev=True,
            fsname="gitdags", subtype="gitdags", default_permissions=True, **options,
        )  # fmt: skip
    except RuntimeError as error:
        raise device.MountFailed(
            f"libfuse could not mount on {mountpoint} (code {error})", hint="gitdags doctor"
        ) from None
