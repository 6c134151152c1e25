"""Messages to the kernel that nobody asked for, from a thread of their own.

The kernel may have to wait for the server while it takes one in, so the serving thread must never
send them.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import struct
import threading
from collections.abc import Sequence

from fuse_mount import protocol as p
from fuse_mount.nodes import Directory, Node, derived

log = logging.getLogger("gitdags.mount")


class Notifier(threading.Thread):
    """Asks the kernel to let go of what it does not use, so that memory stays bounded."""

    def __init__(self, device: int, minor: int) -> None:
        super().__init__(name="notifier", daemon=True)
        self._device, self._minor = device, minor
        self._queue: queue.SimpleQueue[Sequence[Node]] = queue.SimpleQueue()

    def release(self, nodes: Sequence[Node]) -> None:
        """Queues the request to forget these nodes, where nothing uses them."""
        if not self.is_alive():
            self.start()
        self._queue.put(nodes)

    def run(self) -> None:
        while True:
            nodes = self._queue.get()
            if self._minor >= p.PRUNE_MINOR:
                self._prune([node.id for node in nodes])
            else:
                for node in nodes:
                    if type(node) is Directory and node.depth == 0:
                        self._drop(node)

    def _prune(self, numbers: Sequence[int]) -> None:
        data = p.PRUNE_OUT.pack(len(numbers), 0) + struct.pack(f"={len(numbers)}Q", *numbers)
        self._send(p.NOTIFY_PRUNE, data)

    def _drop(self, commit: Directory) -> None:
        """Before Linux 6.18: a commit's folder by name, and with it everything unused below."""
        parent = derived(b"repository", commit.repository.encode())
        name = commit.commit.encode()
        self._send(
            p.NOTIFY_INVAL_ENTRY, p.INVAL_ENTRY_OUT.pack(parent, len(name), 0) + name + b"\0"
        )

    def _send(self, code: int, data: bytes) -> None:
        try:
            os.writev(self._device, (p.notification(code, len(data)), data))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
                log.warning("the kernel refused notification %d: %s", code, error.strerror)
