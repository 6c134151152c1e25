"""The adapter that speaks the kernel's FUSE protocol itself, one thread, no library.

Each request is read from /dev/fuse, answered by `Operations`, and written back. What is
below a commit the kernel may keep forever, absent names too; what hangs on a ref it asks again at
each use. Requests whose answer takes long wait in a `Lane`. docs/mount.md says what each choice
was measured to bring.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from struct import Struct
from time import perf_counter_ns

from fuse_mount import protocol as p
from fuse_mount.lanes import Lane, Request
from fuse_mount.ledger import Ledger
from fuse_mount.metrics import Metrics
from fuse_mount.notifier import Notifier
from fuse_mount.operations import Data, Failure, Operations
from fuse_mount.questions import TOPICS, Answer, Pending, Question
from fuse_mount.table import Table
from fuse_mount.vfs import Vfs

log = logging.getLogger("gitdags.mount")

_UNIQUE = Struct("=Q")
_WANTED = (
    p.ASYNC_READ | p.AUTO_INVAL_DATA | p.DO_READDIRPLUS | p.NO_OPEN_SUPPORT | p.PARALLEL_DIROPS
    | p.MAX_PAGES | p.NO_OPENDIR_SUPPORT | p.INIT_EXT
)  # fmt: skip
_MAX_PAGES = 256  # 1 MiB a read


class Server:
    """Answers the requests of one mount until it is unmounted."""

    def __init__(
        self,
        device: int,
        vfs: Vfs,
        ledger: Ledger,
        ask: Callable[[Question], Answer],
        *,
        node_memory: int = 32 << 20,
        xattr: bool = False,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.device, self.vfs, self.ledger = device, vfs, ledger
        self.table = Table(ledger, node_memory)
        self.metrics = Metrics(self._gauges)
        self.lock = threading.Lock()
        self._ready = ready
        self._operations = Operations(vfs, self.table, lambda: ledger.agreed[2], xattr=xattr)
        self._notifier = Notifier(device, 0)
        self._lanes = {topic: Lane(f"lane-{topic}", ask, self._resume) for topic in TOPICS}

    # ── the loop ──────────────────────────────────────────────────────────────────────────────

    def serve(self) -> None:
        """Answers requests until the mount is gone."""
        buffer, device = self.ledger.buffer, self.device
        if self.ledger.agreed[0]:
            self._notifier = Notifier(device, self.ledger.agreed[1])
            self._take_over()
        while True:
            try:
                length = os.readv(device, [buffer])
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue  # the request was taken back before it could be read
                if error.errno == errno.ENODEV:
                    return
                raise
            if not length:
                return  # the end of a stream: whoever played the kernel is done
            self._handle(length)

    def close(self) -> None:
        """Waits for the slow answers under way and ends their threads."""
        for lane in self._lanes.values():
            lane.stop()

    def _handle(self, length: int) -> None:
        _, opcode, unique, node = p.IN_HEADER.unpack_from(self.ledger.buffer)
        body = self.ledger.buffer[p.IN_HEADER.size : length]
        start = perf_counter_ns()
        if opcode in p.SILENT:
            self._note(opcode, node, body)
        elif opcode == p.INIT:
            self._init(unique, body)
        else:
            with self.lock:
                self._answer(opcode, unique, node, body)
        self.metrics.record(opcode, perf_counter_ns() - start)
        surplus = self.table.surplus()
        if surplus:
            with self.lock:
                nodes = [self.table[number] for number in surplus]
            self._notifier.release(nodes)

    def _answer(self, opcode: int, unique: int, node: int, body: memoryview) -> None:
        """Answers one request, or puts it aside. The lock is the caller's to hold."""
        try:
            data = self._operations.answer(opcode, node, body)
        except Failure as failure:
            self.metrics.errors[failure.number] += 1
            self._send(p.failed(unique, failure.number))
        except Pending as pending:
            self._put_aside(Request(opcode, unique, node, bytes(body)), pending.question)
        else:
            self._send(p.ok(unique, len(data)), data)

    def _send(self, header: bytes, data: Data = b"") -> None:
        try:
            os.writev(self.device, (header, data))
            self.table.settle()
        except OSError as error:
            self.table.take_back()
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                log.error("the kernel refused an answer: %s", error.strerror)

    # ── slow answers ──────────────────────────────────────────────────────────────────────────

    def _put_aside(self, request: Request, question: Question) -> None:
        if not self.ledger.put_aside(request.unique):
            self._send(p.failed(request.unique, errno.EBUSY))
            return
        self._lanes[question.topic].put(request, question)

    def _resume(self, request: Request, question: Question, answer: Answer) -> None:
        """Answers a request put aside; in the lane's thread, while the serving thread waits."""
        with self.lock:
            with self.vfs.knowing({question: answer}):
                self._answer(request.opcode, request.unique, request.node, memoryview(request.body))
            self.ledger.taken_up(request.unique)

    # ── requests without an answer ────────────────────────────────────────────────────────────

    def _note(self, opcode: int, node: int, body: memoryview) -> None:
        if opcode == p.INTERRUPT:
            (unique,) = _UNIQUE.unpack_from(body)
            with self.lock:
                if any(lane.cancel(unique) for lane in self._lanes.values()):
                    self.ledger.taken_up(unique)
                    self._send(p.failed(unique, errno.EINTR))
            return
        with self.lock:
            if opcode == p.FORGET:
                self.table.forget(node, _UNIQUE.unpack_from(body)[0])
                return
            count = int.from_bytes(body[:4], "little")
            for index in range(count):
                self.table.forget(*p.FORGET_ONE.unpack_from(body, 8 + 16 * index))

    # ── beginning ─────────────────────────────────────────────────────────────────────────────

    def _init(self, unique: int, body: memoryview) -> None:
        words = p.INIT_IN.unpack(bytes(body[: p.INIT_IN.size]).ljust(p.INIT_IN.size, b"\0"))
        major, minor, readahead, flags, flags2 = words
        if major < p.MAJOR or (major == p.MAJOR and minor < p.OLDEST_MINOR):
            log.error("the kernel speaks FUSE %d.%d, 7.%d is the oldest understood",
                      major, minor, p.OLDEST_MINOR)  # fmt: skip
            self._send(p.failed(unique, errno.EPROTO))
            return
        if major > p.MAJOR:  # the kernel asks again with our number
            answer = p.INIT_OUT.pack(p.MAJOR, p.MINOR, 0, 0, 0, 0, 0, 0, 0, 0, 0)
            self._send(p.ok(unique, len(answer)), answer)
            return
        minor = min(minor, p.MINOR)
        granted = flags & _WANTED
        granted2 = flags2 & p.HAS_RESEND if flags & p.INIT_EXT else 0
        self.ledger.agreed = major, minor, granted, granted2
        self._notifier = Notifier(self.device, minor)
        answer = p.INIT_OUT.pack(
            major, minor, readahead, granted, 64, 48, 4_096, 1, _MAX_PAGES, 0, granted2
        )
        self._send(p.ok(unique, len(answer)), answer)
        self._ready()

    def _take_over(self) -> None:
        """Goes on where a killed server stopped: no request it had read is left without an answer."""
        log.warning("took over from a server that died; %d files are known", len(self.table))
        if self.ledger.agreed[3] & p.HAS_RESEND:
            self._send(p.notification(p.NOTIFY_RESEND, 0))
            for unique in self.ledger.aside():
                self.ledger.taken_up(unique)
        else:
            length, opcode, unique, _ = p.IN_HEADER.unpack_from(self.ledger.buffer)
            aside = self.ledger.aside()
            if opcode not in p.SILENT and unique not in aside:
                self._handle(length)  # answered twice if it was answered: the kernel ignores that
            for unique in aside:
                self.ledger.taken_up(unique)
                self._send(p.failed(unique, errno.EIO))
        self._ready()

    def _gauges(self) -> dict[str, float]:
        return {
            "nodes": len(self.table),
            "blob_cache_hits": self.vfs.blobs.hits,
            "blob_cache_misses": self.vfs.blobs.misses,
            "repositories": len(self.vfs.shelf.names()),
        }
