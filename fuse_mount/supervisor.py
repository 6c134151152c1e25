"""Keeps one mount alive: holds the /dev/fuse descriptor, starts the server, and the next one.

Three processes. The supervisor does nothing but wait for signals, so that it has no reason to die.
The server is its child and may: the descriptor and the ledger of nodes stay here, requests wait in
the kernel, and the next server goes on with them. The clerk (`fuse_mount.clerk`) is the other.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from fuse_mount import clerk, device, mounts, orphan
from fuse_mount.ledger import Ledger
from fuse_mount.questions import Question
from fuse_mount.repositories import MountedRepository, Shelf
from fuse_mount.spool import Spool
from fuse_mount.vfs import Vfs
from gitdags.errors import GitdagsError, shown
from gitdags.git import limit_memory

log = logging.getLogger("gitdags.mount")

_AWAITED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
_RESTARTS, _WITHIN = 5, 10.0
"""So many deaths within so many seconds, and it is no accident."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to mount, how. Memory in bytes."""

    mountpoint: str
    backend: Literal["kernel", "libfuse"]
    allow_other: bool = False
    xattr: bool = False
    tree_memory: int = 24 << 20
    blob_memory: int = 16 << 20
    node_memory: int = 32 << 20
    spool: int = 4 << 30
    """disk for copies of files larger than ``blob_memory``"""
    pack_memory: int = 24 << 20
    """pack files mapped at a time"""
    metrics_port: int = 0
    """loopback port for Prometheus; 0: none"""
    deadline: float = clerk.DEADLINE


class ServerKeepsDying(GitdagsError):
    """The server ended again and again."""


class Supervisor:
    """One mount's processes, from the mounting to the end."""

    def __init__(
        self, plan: Plan, repositories: clerk.Repositories, moves: clerk.Moves | None = None
    ) -> None:
        self.plan = plan
        self._repositories, self._moves = repositories, moves
        self._asking, self._answering = clerk.channel()
        self._lifeline, self._held = os.pipe()  # the supervisor alone holds the other end
        self._clerk = self._server = 0
        self._deaths: list[float] = []
        self._mounted: str | None = None
        self._device: int | None = None
        self._ledger: Ledger | None = None
        self._known: Sequence[MountedRepository] = ()
        self._leaving = False

    def run(self, ready: Callable[[Sequence[MountedRepository]], None]) -> None:
        """Mounts, calls ``ready`` once files can be read, and returns when it is unmounted.

        Raises GitdagsError: before ``ready``, nothing is mounted; after it, the server kept dying.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        self._clerk = self._fork(
            lambda: clerk.work(self._answering, self._repositories, self._moves)
        )
        try:
            answer = clerk.Clerk(self._asking, 30.0).ask(Question("repositories"))
            if not isinstance(answer, list):
                raise device.MountFailed(
                    "the list of repositories cannot be read", hint="gitdags repos"
                )
            self._known = answer
            if self.plan.backend == "kernel":
                self._device = device.mount(self.plan.mountpoint, allow_other=self.plan.allow_other)
                self._ledger = Ledger()
            self._start()
            ready(self._known)
            notify("READY=1")
            self._wait()
            log.info("%s is unmounted", shown(self.plan.mountpoint, 500))
        finally:
            self._end()

    # ── children ──────────────────────────────────────────────────────────────────────────────

    def _fork(self, work: Callable[[], None]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            os.close(self._held)
            _run_child(work)
        return child

    def _start(self) -> None:
        """Starts a server and waits until it answers. Raises ServerKeepsDying."""
        ready, say = os.pipe()

        def began() -> None:
            self._mounted = mounts.device_at(self.plan.mountpoint)  # in the server, which may
            os.write(say, b"1")  # have to unmount it by itself
            os.close(say)

        def work() -> None:
            os.close(ready)
            orphan.watch(self._lifeline, self._abandon)
            self._serve(began)

        self._server = self._fork(work)
        os.close(say)
        started = os.read(ready, 1)
        os.close(ready)
        if not started:
            _, status = os.waitpid(self._server, 0)
            self._server = 0
            raise ServerKeepsDying(
                f"the {self.plan.backend} server ended before it was ready ({_how(status)})",
                hint=f"gitdags mount --foreground {self.plan.mountpoint}",
            )
        self._mounted = mounts.device_at(self.plan.mountpoint)
        log.info(
            "%s: supervisor %d, %s server %d",
            shown(self.plan.mountpoint, 500), os.getpid(), self.plan.backend, self._server,
        )  # fmt: skip

    def _serve(self, ready: Callable[[], None]) -> None:
        plan = self.plan
        limit_memory(plan.pack_memory, 8 << 20)
        shelf = Shelf(self._known, tree_memory=plan.tree_memory)
        # libfuse before 3.17 has the kernel look up one name of a folder at a time.
        vfs = Vfs(shelf, blob_memory=plan.blob_memory, lazy=plan.backend == "libfuse")
        desk = clerk.Clerk(self._asking, plan.deadline)
        desk.know(self._known)
        spool = Spool(shelf, plan.spool)
        # Nodes are tuples of numbers and text, which cannot form cycles; looking for some is waste.
        gc.freeze()
        gc.set_threshold(100_000)
        if self._device is not None and self._ledger is not None:
            from fuse_mount.kernel import Server

            server = Server(
                self._device,
                vfs,
                Ledger(self._ledger.descriptor),
                lambda q: spool.ask(q) if q.topic == "content" else desk.ask(q),
                node_memory=plan.node_memory,
                xattr=plan.xattr,
                ready=ready,
            )
            _publish(server.metrics.prometheus, plan.metrics_port)
            server.serve()
        else:
            from fuse_mount import libfuse

            adapter = libfuse.Adapter(
                vfs,
                lambda q: spool.ask(q) if q.topic == "content" else desk.ask(q),
                xattr=plan.xattr,
                ready=ready,
            )
            _publish(adapter.metrics.prometheus, plan.metrics_port)
            libfuse.serve(adapter, plan.mountpoint, allow_other=plan.allow_other)

    def _abandon(self) -> None:
        """In the server, when the supervisor has died: nobody would replace this server.

        The mount goes out of sight, so that another can take its place. Who still uses it is
        served; the last one ends it.
        """
        log.error("the supervisor died: unmounting %s", shown(self.plan.mountpoint, 500))
        try:
            self._unmount(lazy=True)
        except GitdagsError as error:
            log.error("%s", error.message)
            os._exit(70)  # a dead mount is at least seen to be one

    # ── waiting ───────────────────────────────────────────────────────────────────────────────

    def _wait(self) -> None:
        while self._server:
            arrived = signal.sigwaitinfo(_AWAITED).si_signo
            if arrived == signal.SIGCHLD:
                self._reap()
            elif arrived == signal.SIGUSR1:
                os.kill(self._server, signal.SIGUSR1)
            else:
                self._leave()

    def _reap(self) -> None:
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not child:
                return
            if child == self._clerk:
                self._clerk = self._fork(
                    lambda: clerk.work(self._answering, self._repositories, self._moves)
                )
            elif child == self._server:
                self._server = 0
                if status and not self._leaving:
                    self._restart(status)

    def _restart(self, status: int) -> None:
        log.warning("the server ended (%s), starting the next", _how(status))
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < _WITHIN] + [now]
        if len(self._deaths) > _RESTARTS:
            raise ServerKeepsDying(
                f"the server died {len(self._deaths)} times in {_WITHIN:.0f} s",
                hint=f"gitdags mount --foreground {self.plan.mountpoint}",
            )
        if self._device is None:  # libfuse's descriptor died with it: clear the dead mount
            self._unmount(lazy=True)
        self._start()

    def _unmount(self, *, lazy: bool = False) -> None:
        """Unmounts what this supervisor mounted, if it is still there: not what came after it."""
        if self._mounted is not None and mounts.device_at(self.plan.mountpoint) == self._mounted:
            device.unmount(self.plan.mountpoint, lazy=lazy)

    def _leave(self) -> None:
        """Asked to end: unmounts; if the mount is busy, takes it out of sight and waits for its users.

        Asked again, it ends at once, and they get errors.
        """
        notify("STOPPING=1")
        if self._leaving:
            os.kill(self._server, signal.SIGKILL)
            return
        self._leaving = True
        try:
            self._unmount()
        except device.Busy:
            users = ", ".join(mounts.holders(self.plan.mountpoint)) or "a process of another user"
            log.warning(
                "%s is in use by %s; unmounting when they are done",
                shown(self.plan.mountpoint, 500),
                users,
            )
            self._unmount(lazy=True)
        except GitdagsError as error:
            log.error("%s", error.message)
            os.kill(self._server, signal.SIGKILL)

    def _end(self) -> None:
        for child in (self._server, self._clerk):
            if child:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        if self._device is not None:
            os.close(self._device)  # aborts what is still mounted
        self._unmount(lazy=True)


def _run_child(work: Callable[[], None]) -> NoReturn:
    """A child's whole life; it never returns into the code of its parent."""
    code = 0
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED - {signal.SIGUSR1})  # see _publish
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C is the supervisor's to act on
        work()
    except GitdagsError as error:
        log.error("%s", error.message)
        code = 3
    except BaseException:
        log.error("bug in the mount's server\n%s", traceback.format_exc())
        code = 70
    finally:
        logging.shutdown()
        os._exit(code)


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit code {os.waitstatus_to_exitcode(status)}"


def _publish(text: Callable[[], str], port: int) -> None:
    """Writes the metrics to the log on SIGUSR1, and serves them on loopback if asked to."""

    def tell() -> None:  # not from a handler: libfuse's loop would not let one run
        while signal.sigwait({signal.SIGUSR1}):
            log.warning("metrics\n%s", text())

    threading.Thread(target=tell, name="metrics", daemon=True).start()
    if port:
        from fuse_mount.publish import publish

        publish(text, port)


def notify(state: str) -> None:
    """Tells systemd, where it asked to be told (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        try:
            to.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            log.warning("systemd was not told %s: %s", state, error.strerror)
