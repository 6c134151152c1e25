"""A warm worker and the jobs it is given: pipes, deadlines, limits, and what to say of a death.

The other side runs code of whoever wrote a commit. So nothing it says is taken for another job's:
each job has a result pipe and an output pipe of its own, made here, read here, capped here.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from gitdags import scratch
from gitdags.errors import shown
from gitdags.serialize import answer, sandbox
from gitdags.serialize.request import Limits, NoAirflow, Outcome, Request, Surroundings
from gitdags.serialize.start import start

__all__ = ["Limits", "NoAirflow", "Outcome", "Pool", "Request", "Surroundings"]

KEPT_OUTPUT = 64 << 10
"""Bytes of what a DAG file prints that are kept, the first ones."""
_MOST_MODULES = 1_000  # modules of Airflow that children asked for, imported for the next ones
_IMPORTS = 120.0  # seconds that importing modules of Airflow may take, once, for all files
_GRACE = 2.0  # seconds in which the worker must have killed what it was told to
_TRIES = 2  # a file that twice ended with the parser itself gone is the one that ends it


@dataclass(slots=True)
class _Job:
    number: int
    request: Request
    tries: int
    deadline: float
    result: bytearray = field(default_factory=bytearray)
    output: bytearray = field(default_factory=bytearray)
    printed: int = 0
    verdict: tuple[str, str] | None = None
    """(type, message) of the limit that was passed first"""
    pipes: dict[int, bytearray] = field(default_factory=dict)
    started: bool = False
    pid: int | None = None
    """the child's process, where it has the same number for us: not in a sandbox of its own"""


class Pool:
    """At most ``jobs`` DAG files parsed at once by children of one warm interpreter.

    A context manager: leaving it ends every child. Not to be shared between threads.
    """

    def __init__(self, surroundings: Surroundings, limits: Limits, jobs: int) -> None:
        self.surroundings, self.limits, self.jobs = surroundings, limits, max(1, jobs)
        self.home = scratch.make("pool")
        self._warm: dict[str, None] = {}
        self._selector = selectors.DefaultSelector()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False
        self._running: dict[int, _Job] = {}
        self._numbers = 0
        try:
            self._start()
        except BaseException:
            shutil.rmtree(self.home, ignore_errors=True)
            raise

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and all its children, and remove its folder."""
        self._stop()
        self._selector.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, requests: Iterable[Request]) -> Iterator[Outcome]:
        """Parse; outcomes come as they end, not in the order of the requests.

        Raises NoAirflow when the worker cannot start.
        """
        waiting: deque[tuple[Request, int]] = deque()
        source = iter(requests)
        exhausted = False
        self._await_ready()
        ended: list[tuple[_Job, int | None, float]] = []
        while True:
            # After the parser was lost, the files that were under way go one at a time: the next
            # loss then names its file.
            room = 1 if any(tries for _, tries in waiting) else self.jobs
            if any(job.tries for job in self._running.values()):
                room = 1
            while len(self._running) < room and not (exhausted and not waiting):
                if waiting:
                    request, tries = waiting.popleft()
                else:
                    following = next(source, None)
                    if following is None:
                        exhausted = True
                        break
                    request, tries = following, 0
                self._submit(request, tries)
            # Only now, with the next files under way, is the caller given time with these.
            for job, status, cpu in ended:
                yield self._outcome(job, status, cpu)
            ended = []
            if not self._running:
                return
            for job, status, cpu in self._wait():
                if status is None and job.verdict is None and job.tries + 1 < _TRIES:
                    waiting.append((job.request, job.tries + 1))
                else:
                    ended.append((job, status, cpu))

    # ── the worker process ────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self._process, self._control = start(self.surroundings, self.limits, self.home)
        self._ready = False
        self._selector.register(self._control, selectors.EVENT_READ, None)

    def _await_ready(self) -> None:
        if self._ready:
            return
        assert self._control is not None
        data = self._control.recv(1 << 16)
        message = json.loads(data) if data else {"failed": self._last_words()}
        if "failed" in message:
            reason = message["failed"]
            missing = "No module named 'airflow'" in reason
            raise NoAirflow(
                f"{shown(self.surroundings.python)} has no Airflow"
                if missing
                else f"Airflow cannot be imported by {shown(self.surroundings.python)}: "
                f"{shown(reason, 300)}",
                hint="pip install 'gitdags[airflow]'"
                if missing
                else f"{self.surroundings.python} -c 'import airflow'",
            )
        self._ready = True

    def _last_words(self) -> str:
        lines = (self.home / "worker.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"

    def _stop(self) -> None:
        if self._control is not None:
            self._selector.unregister(self._control)
            self._control.close()
            self._control = None
        for job in self._running.values():
            self._close_pipes(job)
        if self._process is not None:
            try:
                self._process.wait(timeout=2)  # it ends its children when the socket closes
            except subprocess.TimeoutExpired:  # stopped, or hanging in an import
                self._process.kill()
                self._process.wait()
            self._process = None
        for job in self._running.values():
            self._forget(job)
        self._running.clear()

    # ── jobs ──────────────────────────────────────────────────────────────────────────────

    def _scratch(self, number: int) -> Path:
        return self.home / "tmp" / str(number)

    def _submit(self, request: Request, tries: int) -> None:
        assert self._control is not None
        self._numbers += 1
        number = self._numbers
        scratch = self._scratch(number)
        if self.surroundings.confinement.tier != sandbox.FULL:  # there it is made inside
            scratch.mkdir(parents=True)
            sandbox.hand_over(self.surroundings.confinement, scratch)
        result_in, result_out = os.pipe2(os.O_CLOEXEC)
        output_in, output_out = os.pipe2(os.O_CLOEXEC)
        message = {
            "id": number,
            "root": str(request.root),
            "file": os.fsdecode(request.file),
            "scratch": str(scratch),
            "imports": [*request.imports, *self._warm],
            "era": request.era,
        }
        # Its own time begins when it is forked; before that the worker may be importing for it.
        job = _Job(number, request, tries, time.monotonic() + self.limits.timeout + _IMPORTS)
        job.pipes = {result_in: job.result, output_in: job.output}
        self._running[number] = job
        for pipe in job.pipes:
            os.set_blocking(pipe, False)
            self._selector.register(pipe, selectors.EVENT_READ, job)
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], [result_out, output_out])
        except (BrokenPipeError, ConnectionResetError):
            return  # the worker is gone; _wait finds that out and says which jobs were under way
        finally:
            os.close(result_out)
            os.close(output_out)

    def _wait(self) -> list[tuple[_Job, int | None, float]]:
        """The jobs that have ended, with their status (None: the worker itself was lost) and CPU."""
        nearest = min(job.deadline for job in self._running.values())
        events = self._selector.select(max(0.0, nearest - time.monotonic()))
        ended: list[tuple[_Job, int | None, float]] = []
        for key, _ in events:
            if key.data is not None:
                self._read(key.data, key.fd)
        for key, _ in events:
            if key.data is None:
                ended += self._hear()
        now = time.monotonic()
        for job in list(self._running.values()):
            if now >= job.deadline:
                job.deadline = now + _GRACE
                self._late(job)
        return ended

    def _late(self, job: _Job) -> None:
        """A job whose time is over: have it killed; or the worker, if that does not answer."""
        assert self._process is not None
        busy = any(not other.started for other in self._running.values())
        if not job.started:
            job.verdict = ("TimeLimit", f"what it imports took longer than {_IMPORTS:g} s")
            self._process.kill()
        elif job.verdict is None:
            # While the worker imports for another file it cannot say that this one has ended.
            if not (busy and len(job.pipes) == 0):
                limit = f"{self.limits.timeout:g} s"
                self._kill(job, "TimeLimit", f"took longer than {limit} (parse_timeout)")
        elif not busy:
            self._process.kill()  # told to kill a child, and silent since

    def _hear(self) -> list[tuple[_Job, int | None, float]]:
        assert self._control is not None
        try:
            data = self._control.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            lost = list(self._running.values())
            for job in lost:
                self._drain(job)
            self._stop()
            self._start()
            self._await_ready()
            return [(job, None, 0.0) for job in lost]
        message = json.loads(data)
        if "pid" in message:
            job = self._running[message["id"]]
            job.started, job.deadline = True, time.monotonic() + self.limits.timeout
            if self.surroundings.confinement.tier != sandbox.FULL:
                job.pid = message["pid"]
            return []
        job = self._running.pop(message["id"])
        self._drain(job)
        job.pid = None  # the worker has reaped it; the number may be another process's by now
        if message["excess"] == "memory" and job.verdict is None:
            size = answer.size(self.limits.memory)
            job.verdict = ("MemoryLimit", f"held more memory than {size} (parse_memory)")
        elif message["excess"] == "disk" and job.verdict is None:
            size = answer.size(self.limits.disk)
            job.verdict = ("DiskLimit", f"wrote more than {size} of temporary files (parse_disk)")
        self._forget(job)
        return [(job, message["status"], message["cpu"])]

    def _forget(self, job: _Job) -> None:
        """Remove what a job leaves; end its processes if no worker is there to do it."""
        if job.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
        shutil.rmtree(self._scratch(job.number), ignore_errors=True)

    def _read(self, job: _Job, pipe: int) -> bool:
        """Take what is in a pipe; False when it is at its end or empty for now."""
        if pipe not in job.pipes:
            return False
        try:
            data = os.read(pipe, 1 << 20)
        except BlockingIOError:
            return False
        if not data:
            self._close_pipe(job, pipe)
            return False
        buffer = job.pipes[pipe]
        if buffer is job.output:
            job.printed += len(data)
            buffer += data[: max(0, KEPT_OUTPUT - len(buffer))]
            if job.printed > self.limits.output:
                size = answer.size(self.limits.output)
                self._kill(job, "OutputLimit", f"printed more than {size} (parse_output)")
        elif len(buffer) + len(data) > self.limits.result:
            buffer.clear()
            size = answer.size(self.limits.result)
            self._kill(job, "ResultLimit", f"its documents are larger than {size} (parse_result)")
        else:
            buffer += data
        return True

    def _drain(self, job: _Job) -> None:
        for pipe in list(job.pipes):
            while self._read(job, pipe) and job.verdict is None:
                pass
        self._close_pipes(job)

    def _close_pipe(self, job: _Job, pipe: int) -> None:
        self._selector.unregister(pipe)
        os.close(pipe)
        del job.pipes[pipe]

    def _close_pipes(self, job: _Job) -> None:
        for pipe in list(job.pipes):
            self._close_pipe(job, pipe)

    def _kill(self, job: _Job, kind: str, message: str) -> None:
        if job.verdict is None:
            job.verdict = (kind, message)
            assert self._control is not None
            try:
                self._control.send(json.dumps({"kill": job.number}).encode())
            except (BrokenPipeError, ConnectionResetError):
                return  # already gone; the next wait notices

    def _outcome(self, job: _Job, status: int | None, cpu: float) -> Outcome:
        output = job.output.decode("utf-8", "replace")
        verdict, trace = job.verdict, ""
        if verdict is None and status is None:
            verdict = ("Crash", "ended the process that parses, twice")
        if verdict is None and status != 0:
            verdict = ("Crash", answer.death(status or 0, output))
            trace = output if "Traceback" in output else ""
        if verdict is None:
            try:
                told = answer.checked(json.loads(job.result))
            except (ValueError, KeyError, TypeError, RecursionError):
                verdict = ("Crash", "ended before its result was whole")
            else:
                for name in told["modules"]:
                    if len(self._warm) < _MOST_MODULES:
                        self._warm[name] = None
                return Outcome(
                    job.request,
                    tuple(told["dags"]),
                    tuple(told["errors"]),
                    tuple(told["opened"]),
                    output,
                    cpu,
                    str(self._scratch(job.number)),
                )
        error = {"type": verdict[0], "message": verdict[1], "traceback": trace}
        return Outcome(job.request, (), (error,), (), output, cpu)
