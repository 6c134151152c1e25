"""The warm parent: imports Airflow once, forks a child per DAG file, reports how each ended.

It speaks over one SOCK_SEQPACKET socket. In: ``{"id", "file", "root", ...}`` with two descriptors
(result, output), or ``{"kill": id}``. Out: ``{"ready": ...}`` once, then per job ``{"id", "pid"}`` and
``{"id", "status", "cpu", "rss"}``, ``status`` as in os.waitpid. What a job found does not
pass through here: its result pipe belongs to it alone.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import warnings
from typing import Any

from . import engine, job

MESSAGE = 1 << 17
"""Bytes of a control message; below the default socket buffer of Linux (208 KiB)."""

_PR_SET_CHILD_SUBREAPER = 36


def main(control_fd: int, config_path: str) -> None:
    """Serve jobs until the other end closes the control socket."""
    with open(config_path, "rb") as file:
        config = json.load(file)
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    warnings.simplefilter("ignore")
    gc.disable()  # nothing that importing Airflow makes is garbage; looking costs a tenth of it
    try:
        airflow = _engine(config)
    except Exception as error:
        control.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        return
    control.send(json.dumps({"ready": airflow.version}).encode())
    gc.freeze()
    Parent(control, config, airflow).serve()


def _engine(config: dict[str, Any]) -> Any:
    """What parses, imported: Airflow itself, or the recorder that stands in for it."""
    if config["engine"] == "recorder":
        return importlib.import_module(".recorder.engine", __package__).load()
    return engine.load(plugins=config["plugins"])


class Parent:
    """The running children, by the descriptors that tell of their end."""

    def __init__(self, control: socket.socket, config: dict[str, Any], airflow: Any) -> None:
        self.control, self.config, self.airflow = control, config, airflow
        self.jobs: dict[int, tuple[int, int]] = {}  # pidfd -> (job id, pid)
        self.imported: set[str] = set()

    def serve(self) -> None:
        """Take messages and reap children until the control socket is closed."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
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

    def _start(self, message: dict[str, Any], result: int, output: int) -> int:
        self._import(message["imports"])
        pid = os.fork()
        if pid == 0:
            job.run(self.airflow, self.config, message, result, output)  # never returns
        os.close(result)
        os.close(output)
        pidfd = os.pidfd_open(pid)
        self.jobs[pidfd] = (message["id"], pid)
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
        }
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
    except ProcessLookupError:
        return
