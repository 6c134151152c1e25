"""The warm parent: imports Airflow once, forks a child per DAG file, reports how each ended.

It speaks over one SOCK_SEQPACKET socket. In: ``{"id", "file", "root", ...}`` with two descriptors
(result, output), or ``{"kill": id}``. Out: ``{"ready": ...}`` once, then per job ``{"id", "pid"}`` and
``{"id", "status", "cpu", "rss", "excess"}``, ``status`` as in os.waitpid, ``excess`` what it had too
much of and was ended for: "memory", "disk" or null. What a job found does not pass through here:
its result pipe belongs to it alone.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import warnings
from typing import Any

from . import confine, engine, job, kernel, usage

MESSAGE = 1 << 17
"""Bytes of a control message; below the default socket buffer of Linux (208 KiB)."""

_LOOK = 0.02
"""Seconds between two looks at the memory that children hold."""
_SWEEP = 0.1
"""Seconds between two looks at their temporary files."""


def main(control_fd: int, config_fd: int) -> None:
    """Serve jobs until the other end closes the control socket; ``config_fd`` has JSON to read."""
    with open(config_fd, "rb") as file:
        config = json.load(file)
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    kernel.adopt_orphans()
    os.environ.pop("PWD", None)  # bubblewrap sets it; without it there is none
    confinement = confine.Confinement(config["sandbox"])
    warnings.simplefilter("ignore")
    gc.disable()  # nothing that importing Airflow makes is garbage; looking costs a tenth of it
    try:
        airflow = _engine(config)
    except Exception as error:
        control.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        return
    confinement.carry(airflow.files)
    control.send(json.dumps({"ready": airflow.version}).encode())
    gc.freeze()
    Parent(control, config, airflow, confinement).serve()


def _engine(config: dict[str, Any]) -> Any:
    """What parses, imported: Airflow itself, or the recorder that stands in for it."""
    if config["engine"] == "recorder":
        return importlib.import_module(".recorder.engine", __package__).load()
    return engine.load(plugins=config["plugins"])


class Parent:
    """The running children, by the descriptors that tell of their end."""

    def __init__(
        self,
        control: socket.socket,
        config: dict[str, Any],
        airflow: Any,
        confinement: confine.Confinement,
    ) -> None:
        self.control, self.config, self.airflow = control, config, airflow
        self.confinement = confinement
        self.jobs: dict[int, tuple[int, int]] = {}  # pidfd -> (job id, pid)
        self.imported: set[str] = set()
        self.scratch: dict[int, str] = {}  # job id -> its folder for temporary files
        self.excessive: dict[int, str] = {}  # job id -> what it had too much of, so was ended for
        self.looked = 0.0

    def serve(self) -> None:
        """Take messages and reap children until the control socket is closed."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        while True:
            for fd, _ in poll.poll(_LOOK * 1000 if self.jobs else None):
                if fd != self.control.fileno():
                    poll.unregister(fd)
                    self._reap(fd)
                    continue
                data, descriptors, _, _ = socket.recv_fds(self.control, MESSAGE, 2)
                if not data:
                    for _, pid in self.jobs.values():
                        _kill(pid)
                    return
                message = json.loads(data)
                if "kill" in message:
                    for number, pid in self.jobs.values():
                        if number == message["kill"]:
                            _kill(pid)
                else:
                    poll.register(self._start(message, *descriptors), select.POLLIN)
            self._watch()

    def _watch(self) -> None:
        """End the children that, with all they started, hold more than they may.

        The address space of each process and the size of each file are limited by the kernel; what
        many take together is not, but for a temporary folder that is a file system of its own.
        """
        now = time.monotonic()
        look_at_disk = (
            self.config["sandbox"]["tier"] != confine.FULL and now >= self.looked + _SWEEP
        )
        if look_at_disk:
            self.looked = now
        for number, pid in self.jobs.values():
            if number in self.excessive:
                continue
            if usage.holds_more(pid, self.config["memory"]):
                self.excessive[number] = "memory"
            elif look_at_disk and usage.fills_more(self.scratch[number], self.config["disk"]):
                self.excessive[number] = "disk"
            else:
                continue
            _kill(pid)

    def _start(self, message: dict[str, Any], result: int, output: int) -> int:
        self._import(message["imports"])
        pid = self.confinement.fork()
        if pid == 0:
            job.run(self.airflow, self.config, self.confinement, message, result, output)
        os.close(result)
        os.close(output)
        pidfd = os.pidfd_open(pid)
        self.jobs[pidfd] = (message["id"], pid)
        self.scratch[message["id"]] = message["scratch"]
        self.control.send(json.dumps({"id": message["id"], "pid": pid}).encode())
        return pidfd

    def _import(self, wanted: list[str]) -> None:
        """Import what a file names of Airflow once for all children, as Airflow's own parser does.

        ``module`` or ``module:name``: a name may stand for a module that is imported only when it
        is asked for. Only below ``airflow``, or what the recorder welcomes; the repository is not on
        sys.path here, so none of its code runs. What cannot be imported is the DAG file's own error,
        in its child.
        """
        new = [name for name in wanted if name not in self.imported]
        self.imported.update(new)
        for name in new:
            module, _, attribute = name.partition(":")
            if self.airflow.exact:
                if module != "airflow" and not module.startswith("airflow."):
                    continue
            elif module not in self.airflow.welcome:
                continue
            try:
                found = importlib.import_module(module)
                if attribute:
                    getattr(found, attribute, None)
            except Exception as error:
                print(f"{name}: {error}", file=sys.stderr)
        if new:
            gc.freeze()

    def _reap(self, pidfd: int) -> None:
        number, pid = self.jobs.pop(pidfd)
        _, status, usage = os.wait4(pid, 0)
        os.close(pidfd)
        _kill(pid)  # what is left of its process group
        self._reap_orphans()
        report = {
            "id": number,
            "status": status,
            "cpu": usage.ru_utime + usage.ru_stime,
            "rss": usage.ru_maxrss * 1024,
            "excess": self.excessive.pop(number, None),
        }
        del self.scratch[number]
        self.control.send(json.dumps(report).encode())

    def _reap_orphans(self) -> None:
        """End what children left behind in sessions of their own: it was handed to this process."""
        mine = {pid for _, pid in self.jobs.values()}
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            orphans = [pid for pid in map(int, file.read().split()) if pid not in mine]
        for pid in orphans:
            _kill(pid)
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue  # it ended by itself in the meantime


def _kill(pid: int) -> None:
    """Kill a process group, if there is one."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # PermissionError: none of it is left but zombies
        return
