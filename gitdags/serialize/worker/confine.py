"""What confines a DAG file: the order of things, from a forked child to one that can do no harm.

Three tiers, chosen outside and told by ``config["sandbox"]["tier"]``:

- ``full``: the parent is process 1 of a sandbox that bubblewrap made. Each child gets namespaces of
  its own in it (processes, mounts, network, users), then Landlock and seccomp.
- ``landlock``: the parent runs on the bare machine; Landlock and seccomp alone hold the child.
- ``off``: nothing but the limits.

All that a tier promises holds or the child ends: nothing here is tried and passed over.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from . import kernel, landlock, seccomp

FULL, LANDLOCK, OFF = "full", "landlock", "off"
_USER = 1000  # whom a file takes itself for; who it is outside does not show
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SHARED_MEMORY = "size=64m,nr_inodes=1024,mode=1777"


class Confinement:
    """Made in the warm parent, once; ``config`` is its part of the configuration.

    ``{"tier", "home", "trees", "cover", "kept", "readable", "user", "disk", "landlock"}``: ``home``
    is the pool's own folder, ``trees`` the one below which all trees lie, ``cover`` where that is
    bound in the sandbox; ``kept`` has [where it is bound, where it belongs] of what a fresh /tmp
    would hide, ``readable`` the paths of the environment, ``user`` whom root becomes, ``disk``
    bytes of temporary files, ``landlock`` the version to use at most.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.tier: str = config["tier"]
        self._known = min(landlock.version(), config["landlock"])
        self._processes = os.open("/proc/self/ns/pid", os.O_RDONLY) if self.tier == FULL else -1
        self._files: dict[str, bytes] = {}  # path -> content, of what is carried into a fresh /tmp
        self._shared: list[str] = []
        if self.tier != OFF:
            kernel.set_dumpable(False)  # no child reads this process's memory

    def carry(self, paths: Iterable[str]) -> None:
        """Let each child read these files, made below the parent's /tmp: a copy of its own in tier full."""
        self._shared = [] if self.tier == FULL else list(paths)
        if self.tier == FULL:
            for path in paths:
                with open(path, "rb") as file:
                    self._files[path] = file.read()

    def fork(self) -> int:
        """As os.fork; in tier full the child is process 1 of a namespace that ends with it."""
        if self.tier != FULL:
            return os.fork()
        kernel.unshare(kernel.NEW_PIDS)
        child = -1
        try:
            child = os.fork()
        finally:
            if child != 0:  # the next one gets another
                kernel.enter(self._processes, kernel.NEW_PIDS)
        return child

    def enter(self, root: str, scratch: str) -> None:
        """In the child: be confined, with the tree at ``root`` and an empty folder ``scratch``.

        Everything that needs a right comes before; afterwards there is none left.
        """
        if self.tier == OFF:
            return
        if self.tier == FULL:
            self._namespaces(root, scratch)
            readable, writable = ["/"], ["/tmp", "/dev/shm", "/dev/null", scratch]
            kernel.no_new_privileges()
            kernel.keep_capabilities()
        else:
            readable = [*self.config["readable"], *self._shared, root, "/proc/self", *_DEVICES]
            writable = [scratch, "/dev/null"]
            if os.getuid() == 0:
                # What root alone may read stays readable, where Landlock lets it be read.
                kernel.become(self.config["user"], kernel.CAP_DAC_READ_SEARCH)
                kernel.die_with_parent(signal.SIGKILL)  # changing users took that back
            else:
                kernel.keep_capabilities()
            kernel.no_new_privileges()
        if self._known:
            landlock.restrict(readable, writable, self._known)
        in_sight = self.tier == LANDLOCK
        seccomp.restrict(seccomp.program(os.getpid(), in_sight=in_sight, landlock=self._known))

    def _namespaces(self, root: str, scratch: str) -> None:
        """A world in which only this tree is, and in which nothing can be left for another file."""
        trees, cover = self.config["trees"], self.config["cover"]
        kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_NET | kernel.NEW_IPC)
        flags = kernel.NO_SUID | kernel.NO_DEV
        room = f"size={self.config['disk']},nr_inodes=65536,mode=1777"
        for place in _outermost("/tmp", self.config["home"], trees):
            kernel.mount("tmpfs", place, "tmpfs", flags, room)
        kernel.mount("tmpfs", "/dev/shm", "tmpfs", flags, _SHARED_MEMORY)
        kernel.mount("proc", "/proc", "proc", flags | kernel.NO_EXEC)
        for source, target in [*self.config["kept"], (cover + root[len(trees) :], root)]:
            os.makedirs(target, exist_ok=True)
            kernel.mount(source, target, "", kernel.BIND | kernel.RECURSIVE)
        kernel.mount("tmpfs", cover, "tmpfs", flags | kernel.READ_ONLY, "size=4k,mode=555")
        os.makedirs(scratch, exist_ok=True)
        for path, data in self._files.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        # Users last: what this namespace may not undo is what was done outside of it. It also has
        # a count of processes of its own, so that one file cannot use up another's.
        kernel.set_dumpable(True)
        kernel.unshare(kernel.NEW_USER)
        kernel.map_user(_USER, 0)


def _outermost(*places: str) -> list[str]:
    """The places that do not lie below another one."""
    return [
        place
        for place in dict.fromkeys(places)
        if not any(place.startswith(other + "/") for other in places)
    ]
