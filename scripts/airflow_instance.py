"""A whole Airflow of one's own on loopback: API server, scheduler, DAG processor, SQLite, LocalExecutor.

For tests and the demo. Everything lies below one folder; leaving the context ends what was started.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

COMPONENTS = ("api-server", "scheduler", "dag-processor")
_FERNET_KEY = "Z2l0ZGFncy10ZXN0cy1vbmx5LTMyLWJ5dGVzLWxvbmc="


class Instance:
    """One Airflow. ``template``: a migrated database to begin with, which saves five seconds."""

    def __init__(
        self,
        folder: Path,
        bundles: Sequence[Mapping[str, Any]],
        *,
        python: str = sys.executable,
        env: Mapping[str, str] | None = None,
        template: Path | None = None,
    ) -> None:
        self.folder, self.python = folder, python
        self.home, self.storage = folder / "airflow", folder / "storage"
        self.database = self.home / "airflow.db"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token = ""
        self.home.mkdir(parents=True)
        self.env = {
            "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONPYCACHEPREFIX": "",
            **settings(self.home, self.storage, self.url, self.port, bundles),
            **(env or {}),
        }
        (folder / "tmp").mkdir(exist_ok=True)
        if template is None:
            self.run("db", "migrate")
        else:
            shutil.copy(template, self.database)

    # ── processes ─────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *components: str) -> None:
        """Start components (default: all), and wait until they are at work."""
        for name in components or COMPONENTS:
            words = ["--skip-serve-logs"] if name == "scheduler" else []
            log = open(self.log(name), "ab")  # noqa: SIM115 - the child keeps it
            with log:
                self._processes[name] = subprocess.Popen(
                    [self.python, "-m", "airflow", name, *words],
                    env=self.env, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip
        if "api-server" in (components or COMPONENTS):
            self.wait(lambda: self._healthy(), "the API server answers", 90)

    def stop(self, *components: str) -> None:
        """End components (default: all that run), and what they started."""
        ending = [(n, p) for n, p in self._processes.items() if not components or n in components]
        for _, process in ending:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for name, process in ending:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            del self._processes[name]

    def log(self, component: str) -> Path:
        """Where a component's output goes."""
        return self.folder / f"{component}.log"

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """An ``airflow`` command of this instance."""
        return subprocess.run(
            [self.python, "-m", "airflow", *words],
            env=self.env, cwd=self.folder, capture_output=True, text=True, check=check,
        )  # fmt: skip

    def wait(self, what: Callable[[], T], words: str, seconds: float = 60) -> T:
        """Ask again and again until the answer is true; that answer. Raises AssertionError."""
        end = time.monotonic() + seconds
        while True:
            found = what()
            if found:
                return found
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise AssertionError(f"{name} has ended\n{self.tail(name)}")
            if time.monotonic() > end:
                logs = "\n".join(f"── {n}\n{self.tail(n)}" for n in self._processes)
                raise AssertionError(f"after {seconds:g} s still not: {words}\n{logs}")
            select.select([], [], [], 0.1)

    def tail(self, component: str, lines: int = 40) -> str:
        """The last lines a component wrote."""
        text = self.log(component).read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    # ── the API ───────────────────────────────────────────────────────────────────────────

    def api(
        self, path: str, body: Any = None, *, method: str | None = None, ok: bool = True
    ) -> Any:
        """The JSON answer of ``/api/v2/…``; with ``ok`` False, (status, JSON)."""
        if not self._token:
            self._token = self._open("/auth/token", None, None)[1]["access_token"]
        status, data = self._open(f"/api/v2/{path}", body, method)
        if not ok:
            return status, data
        assert status < 400, (status, path, data)
        return data

    def trigger(self, dag_id: str, run_id: str) -> None:
        """A manual run."""
        self.api(f"dags/{_q(dag_id)}/dagRuns", {"dag_run_id": run_id, "logical_date": None})

    def dag_run(self, dag_id: str, run_id: str) -> Any:
        """A run as the API has it."""
        return self.api(f"dags/{_q(dag_id)}/dagRuns/{_q(run_id)}")

    def finish(self, dag_id: str, run_id: str, state: str = "success") -> Any:
        """Wait until a run has ended, and how."""

        def ended() -> Any:
            run = self.dag_run(dag_id, run_id)
            return run if run["state"] in ("success", "failed") else None

        run = self.wait(ended, f"{dag_id} {run_id} has ended", 90)
        assert run["state"] == state, (run, self.task_logs(dag_id, run_id))
        return run

    def task_logs(self, dag_id: str, run_id: str) -> str:
        """Everything the tasks of a run logged on this host."""
        top = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return "\n".join(p.read_text(errors="replace") for p in sorted(top.rglob("*.log")))

    def _open(self, path: str, body: Any, method: str | None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def _healthy(self) -> bool:
        try:
            return self._open("/api/v2/version", None, None)[0] == 200
        except OSError:
            return False


def settings(
    home: Path, storage: Path, url: str, port: int, bundles: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Airflow's configuration, small and quick, as environment variables."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
        "AIRFLOW__CORE__FERNET_KEY": _FERNET_KEY,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": "for tests only",
        "AIRFLOW__API_AUTH__JWT_SECRET": "for tests only, and longer than thirty-two bytes, as it must be",
        "AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN": "[^/]+",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(storage),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(list(bundles)),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }  # fmt: skip


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@contextlib.contextmanager
def running(*words: Any, **named: Any) -> Iterator[Instance]:
    """An Instance with everything started; ended on leaving."""
    with Instance(*words, **named) as instance:
        instance.start()
        yield instance


def _q(text: str) -> str:
    return urllib.parse.quote(text, safe="")
