"""What tests share: real Git repositories, a real Airflow interpreter, a store of their own."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from gitdags.catalog import Catalog
from gitdags.config import Settings
from tests.postgres import server
from tests.wheels import make_index

# A shell's background jobs ignore SIGINT, and what they start inherits that: then nothing that a test
# interrupts would ever end.
signal.signal(signal.SIGINT, signal.default_int_handler)

DATE = "2025-01-{day:02d}T12:00:00Z"


@cache
def airflow_version(python: str) -> str | None:
    """The version of Airflow an interpreter has, or None."""
    code = "import importlib.metadata as m; print(m.version('apache-airflow-core'))"
    old = code.replace("-core", "")
    for probe in (code, old):
        found = subprocess.run([python, "-I", "-c", probe], capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.strip()
    return None


@pytest.fixture(scope="session")
def airflow_python() -> str:
    """An interpreter with Airflow 3.3."""
    python = os.environ.get("GITDAGS_TEST_PYTHON", sys.executable)
    version = airflow_version(python)
    if version is None or not version.startswith("3.3"):
        pytest.skip(f"no Airflow 3.3 in {python}: run ./scripts/test")
    return python


@pytest.fixture(scope="session")
def airflow_2_python() -> str:
    """An interpreter with Airflow 2.11, which needs Python 3.12 or older."""
    python = os.environ.get("GITDAGS_TEST_PYTHON_2", "")
    if not python:
        pytest.skip("no Python 3.12 or older for Airflow 2.11: GITDAGS_TEST_PYTHON_2 is not set")
    return python


@pytest.fixture(scope="session")
def real_history() -> Path:
    """The repository that scripts/airflow-history makes."""
    path = os.environ.get("GITDAGS_TEST_HISTORY", "")
    if not path:
        pytest.skip("no real history: run ./scripts/test, which makes it")
    return Path(path)


class Repo:
    """A real repository in a folder, written with the git program; dates count up by a day."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.day = 0
        path.mkdir(parents=True)
        self("init", "-q", "-b", "main")

    def __call__(self, *words: str | bytes, input: bytes | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.path,
            input=input,
            check=check,
            capture_output=True,
            env=self.environment,
        )
        return done.stdout.decode("utf-8", "replace").strip()

    @property
    def environment(self) -> dict[str, str]:
        date = DATE.format(day=max(self.day, 1))
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.org",
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_DATE": date,
        }

    def commit(
        self, files: Mapping[str, str | bytes | None] | None = None, message: str = "change"
    ) -> str:
        """Write files (None deletes), commit everything, one day later; the SHA."""
        for name, content in (files or {}).items():
            path = self.path / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            path.write_bytes(data)
        self.day += 1
        self("add", "-A")
        self("commit", "-q", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """An empty repository."""
    return Repo(tmp_path / "repo")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Makes an empty database on a PostgreSQL server of the tests' own; its SQLAlchemy URL."""
    import psycopg

    numbers = itertools.count()
    with server() as url:
        admin = url.replace("+psycopg", "").format(database="postgres")

        def make() -> str:
            name = f"test{next(numbers)}"
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return url.format(database=name)

        yield make


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: a test that asks for it runs on each that we support."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'store.db'}"
    return str(request.getfixturevalue("postgres")())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home of the test's own; nothing of the machine's environment."""
    return Settings({"home": str(tmp_path / "home"), "jobs": "2"}, {}, None, None)


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    """An empty catalog. Parses with the interpreter the tests run in."""
    with Catalog(settings) as catalog:
        yield catalog


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that uv takes packages from, and no registry."""
    return make_index(tmp_path, monkeypatch)


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def gitdags(tmp_path: Path, repo: Repo) -> Run:
    """The command itself, in the repository, with a home of the test's own."""

    def run(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gitdags.cli.main", *words],
            cwd=cwd or repo.path,
            capture_output=True,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "GITDAGS_HOME": str(tmp_path / "home"),
                **env,
            },
        )

    return run


def dag(dag_id: str, *tasks: str, body: str = "", arguments: str = "schedule=None") -> str:
    """A DAG file: tasks of EmptyOperator, chained in the order given."""
    lines = [
        "from airflow.sdk import DAG",
        "from airflow.providers.standard.operators.empty import EmptyOperator",
        body,
        f"with DAG({dag_id!r}, {arguments}) as dag:",
        *(f"    {task} = EmptyOperator(task_id={task!r})" for task in tasks or ("only",)),
    ]
    if len(tasks) > 1:
        lines.append("    " + " >> ".join(tasks))
    return "\n".join(lines) + "\n"
