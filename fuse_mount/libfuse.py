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
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fuse_mount import device
from fuse_mount import protocol as p
from fuse_mount.errnos import number_of
from fuse_mount.metrics import Metrics
from fuse_mount.nodes import Directory, Lost, Node, Root, Submodule
from fuse_mount.questions import Answer, Pending, Question
from fuse_mount.vfs import Vfs

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger("gitdags.mount")
T = TypeVar("T")

_LIFETIME = 30.0
_PATHS = 20_000  # paths below commits whose node is kept; about 300 bytes each
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


class Adapter:
    """The operations mfusepy calls, by path; every one translates and does no more."""

    use_ns = True

    def __init__(
        self,
        vfs: Vfs,
        ask: Callable[[Question], Answer],
        *,
        xattr: bool = False,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.vfs = vfs
        self.metrics = Metrics()
        self._ask, self._ready = ask, ready
        self._owner = os.getuid(), os.getgid()
        self._nodes: dict[bytes, Node] = {}
        if xattr:  # mfusepy registers what is there; without them the kernel asks once and no more
            self.getxattr, self.listxattr = self._getxattr, self._listxattr

    # ── operations ────────────────────────────────────────────────────────────────────────────

    def init_with_config(self, connection: Any, config: Any) -> None:
        """Called before the first request."""
        config.entry_timeout = config.attr_timeout = _LIFETIME
        config.negative_timeout = 0.0
        config.kernel_cache = config.use_ino = 1
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

    def readdir(self, path: str, handle: Any) -> Iterator[tuple[str, dict[str, int], int]]:
        """(name, attributes, 0) of all in a folder."""
        return iter(self._do(p.READDIR, lambda: self._list(path)))

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

    def _list(self, path: str) -> list[tuple[str, dict[str, int], int]]:
        folder = self._node(path)
        found = [  # an entry without an inode number would be skipped
            (".", {"st_ino": folder.id, "st_mode": stat.S_IFDIR}, 0),
            ("..", {"st_ino": 1, "st_mode": stat.S_IFDIR}, 0),
        ]
        if type(folder) is Directory:
            for name, node in self.vfs.listing(folder):
                lost = {"st_ino": node.id, "st_mode": stat.S_IFREG}
                found.append((_str(name), lost if type(node) is Lost else self._stat(node), 0))
            return found
        if type(folder) is Root:
            self.vfs.refresh()
        elif type(folder) is Submodule:
            return found
        names = self.vfs.names(cast("Any", folder))
        return found + [(_str(n), {"st_ino": ino, "st_mode": mode}, 0) for ino, n, mode in names]

    def _do(self, opcode: int, action: Callable[[], T]) -> T:
        """What an action yields, slow answers waited for; raises OSError for what it raises."""
        start = perf_counter_ns()
        try:
            return self._ask_through(action)
        except Exception as error:
            number = number_of(error, opcode)
            self.metrics.errors[number] += 1
            raise OSError(number, os.strerror(number)) from None
        finally:
            self.metrics.record(opcode, perf_counter_ns() - start)

    def _ask_through(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except Pending as pending:
            question = pending.question
        # One thread serves all: everybody waits, for no longer than the clerk's deadline.
        with self.vfs.knowing(question, self._ask(question)):
            return action()


def _str(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def serve(adapter: Adapter, mountpoint: str, *, allow_other: bool) -> None:
    """Mounts and serves until unmounted. Raises MountFailed."""
    mfusepy = library()

    class Fuse(mfusepy.FUSE):  # type: ignore[name-defined, misc]  # the class of a module found late
        """mfusepy's, but listings of commits stay in the kernel."""

        def opendir(self, path: bytes, info: Any) -> int:
            if adapter.lasting(path.decode("utf-8", "surrogateescape")):
                info.contents.keep_cache = info.contents.cache_readdir = 1
            return 0

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
