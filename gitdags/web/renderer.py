"""Long renderings in a process of their own, each with a deadline: layout, highlighting, comparing.

What is rendered was written by whoever can push. A graph can be made so that Graphviz works on it for
minutes, a file so that an expression never ends: then the process is ended and the page goes without.
Nothing here knows a repository or the store; names of functions and JSON go in, JSON comes out.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from typing import Any

from gitdags.errors import GitdagsError
from gitdags.model import Json

DEADLINE = 10.0  # seconds; the largest graph that is drawn takes under one
MEMORY = 2 << 30  # bytes of address space
_FUNCTIONS = {
    "layout": ("gitdags.layout", "place_json"),
    "highlight": ("gitdags.web.highlight", "lines"),
    "pieces": ("gitdags.web.highlight", "pieces"),
    "changes": ("gitdags.web.changes", "compare"),
}
_HEAD = struct.Struct(">I")


class CannotRender(GitdagsError):
    """A rendering that took too long, or ended its process."""

    http_status = 503


class Renderer:
    """One process, begun when first needed and again after each end. Shared by threads, in turn."""

    def __init__(self, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.failures = 0

    def call(self, name: str, *arguments: Json) -> Json:
        """What the function gives for these. Raises CannotRender."""
        data = json.dumps([name, *arguments]).encode()
        with self._lock:
            process = self._running()
            try:
                answer = self._exchange(process, data)
            except (OSError, EOFError, TimeoutError) as error:
                self._end()
                self.failures += 1
                why = "took too long" if isinstance(error, TimeoutError) else "ended its process"
                raise CannotRender(f"the {name} {why}", hint="gitdags doctor") from None
        ok, value = json.loads(answer)
        if not ok:
            self.failures += 1
            raise CannotRender(f"the {name} failed: {value}", hint="gitdags doctor")
        return value

    def warm(self) -> None:
        """Begin the process, so that the first page does not wait for it."""
        with self._lock:
            self._running()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gitdags.web.renderer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        until = time.monotonic() + self._deadline
        whole = memoryview(_HEAD.pack(len(data)) + data)
        fd = process.stdin.fileno()
        os.set_blocking(fd, False)
        while whole:
            _, ready, _ = select.select([], [fd], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                whole = whole[os.write(fd, whole) :]
        (size,) = _HEAD.unpack(self._receive(process.stdout.fileno(), _HEAD.size, until))
        return self._receive(process.stdout.fileno(), size, until)

    @staticmethod
    def _receive(fd: int, size: int, until: float) -> bytes:
        parts = []
        while size:
            ready, _, _ = select.select([fd], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(fd, min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def serve() -> None:
    """The process: answer until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal's; our parent closes the pipe
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source = sys.stdin.buffer
    # Graphviz and fontconfig write to whatever is 1 and 2.
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    for module, _ in _FUNCTIONS.values():
        importlib.import_module(module)
    while len(head := source.read(_HEAD.size)) == _HEAD.size:
        name, *arguments = json.loads(source.read(*_HEAD.unpack(head)))
        answer = json.dumps(_answer(name, arguments)).encode()
        answers.write(_HEAD.pack(len(answer)) + answer)
        answers.flush()


def _answer(name: str, arguments: list[Any]) -> tuple[bool, Json]:
    module, function = _FUNCTIONS[name]
    try:
        return True, getattr(importlib.import_module(module), function)(*arguments)
    except Exception as error:  # of the input; the process goes on
        return False, f"{type(error).__name__}: {error}"[:300]


if __name__ == "__main__":
    serve()
