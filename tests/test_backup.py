"""Backups come back on an empty machine, change nothing that is there, and a damaged one changes nothing."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitdags import backup, keep
from gitdags.backup import BadBackup
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.model import Deployment, RegisteredRepository, Runtime, Stamp
from gitdags.store import Store
from tests.conftest import Repo, Run, dag

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN = ("default", "etl", "nightly/1 ü\n")


def event(number: int, commit: str | None, **fields: Any) -> Stamp:
    given: dict[str, Any] = {"state": "running", "source": "worker", "task_id": "load",
                             "try_number": 1, "repo": "sales", "commit": commit}  # fmt: skip
    given |= fields
    airflow, dag_id, run_id = RUN
    at = NOW + timedelta(seconds=number)
    return Stamp(f"{number:064x}", airflow, dag_id, run_id, at=at, **given)


def filled(catalog: Catalog, repo: RegisteredRepository, lost: str) -> None:
    """Stamps that contradict each other, a deployment, evidence."""
    runtime = Runtime("3.3.2", "3.12.1", "sha256:1", "f" * 64)
    store = catalog._store
    store.stamps.add([
        event(1, lost, task_id=None, try_number=0, source="scheduler", runtime=runtime),
        event(2, lost, runtime=runtime),
        event(3, "9" * 40, try_number=2, dirty=True),
        event(4, None, repo=None, path="/gone/dags/x.py", source="checkout", state="failed"),
    ])  # fmt: skip
    store.evidence.execute([RUN], '{"dag": {}}')
    airflow, dag_id, run_id = RUN
    store.evidence.render([{"airflow": airflow, "dag_id": dag_id, "run_id": run_id, "task_id": "load",
                            "map_index": -1, "try_number": 1, "fields": {"sql": "***"}}], 30)  # fmt: skip
    moves = [Deployment(repo.name, "refs/heads/main", None, lost, NOW, "Ada", "hook")]
    catalog.record(moves)
    catalog._keep(repo, [lost])


def told(catalog: Catalog) -> dict[str, Any]:
    """What a store says of all that a backup carries."""
    runs = catalog.runs()
    return {
        "runs": [(r.run_id, r.commit, r.source, r.state, r.conflict, r.dirty, r.tries) for r in runs],
        "events": [catalog.events(run) for run in runs],
        "rendered": [catalog.rendered(run) for run in runs],
        "executed": [catalog._store.evidence.executed(run) for run in runs],
        "deployments": catalog.deployments(),
    }  # fmt: skip


@pytest.fixture
def lost(repo: Repo) -> str:
    """A commit whose branch is gone."""
    repo.commit({"dags/etl.py": "old = 1\n"})
    repo("checkout", "-q", "-b", "topic")
    sha = repo.commit({"dags/etl.py": "the code that ran\n"})
    repo("checkout", "-q", "main")
    return sha


@pytest.fixture
def registered(catalog: Catalog, repo: Repo, lost: str) -> RegisteredRepository:
    found = catalog.registry.add(str(repo.path), name="sales")
    filled(catalog, found, lost)
    repo("branch", "-D", "topic")
    repo("tag", "-a", "v1", "-m", "v1")
    return found


@pytest.fixture
def file(registered: RegisteredRepository, settings: Settings, tmp_path: Path) -> Path:
    """A backup of it all."""
    target = tmp_path / "all.gitdags"
    store = Store(settings.database)
    backup.write(store, target, pytest.fail)
    store.close()
    return target


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    """An empty machine."""
    return Settings({"home": str(tmp_path / "elsewhere")}, {})


def restore(settings: Settings, file: Path) -> tuple[backup.Report, list[str]]:
    notes: list[str] = []
    store = Store(settings.database)
    try:
        return backup.restore(store, settings.home, file, notes.append), notes
    finally:
        store.close()


class TestOnAnEmptyMachine:
    def test_all_is_back(
        self, catalog: Catalog, repo: Repo, file: Path, empty: Settings, lost: str
    ) -> None:
        before = told(catalog)
        assert len(before["runs"]) == 1
        shutil.rmtree(repo.path)
        report, notes = restore(empty, file)
        assert (report.rows, report.repositories, report.commits) == (
            {"deployments": 1, "stamps": 4, "executed": 1, "rendered": 1}, 1, 1,
        )  # fmt: skip
        assert "a bare repository" in notes[0]
        with Catalog(empty) as other:
            assert told(other) == before
            sales = other.repository("sales")
            assert sales.path == str(empty.home / "mirrors" / "sales.git")
            assert other.source(sales, "dags/etl.py", other.runs()[0].commit or "") == (
                b"the code that ran\n"
            )
            assert other.resolve(sales, "HEAD").commit == other.resolve(sales, "v1").commit
            assert keep.kept(sales.path) == {lost}

    def test_a_mirror(
        self, catalog: Catalog, repo: Repo, lost: str, settings: Settings, empty: Settings,
        tmp_path: Path,
    ) -> None:  # fmt: skip
        found = catalog.registry.add(f"file://{repo.path}", name="mirrored", dags_folder="x/dags")
        catalog._keep(found, [lost])
        store = Store(settings.database)
        backup.write(store, tmp_path / "b", pytest.fail)
        store.close()
        away = repo.path.rename(tmp_path / "away")
        _, notes = restore(empty, tmp_path / "b")
        assert notes == []
        with Catalog(empty) as other:
            mirrored = other.repository("mirrored")
            assert (mirrored.url, mirrored.dags_folder) == (f"file://{repo.path}", "x/dags")
            assert other.source(mirrored, "dags/etl.py", lost) == b"the code that ran\n"
            away.rename(repo.path)
            new = repo.commit({"dags/etl.py": "new\n"})
            other.fetch(mirrored)
            assert other.resolve(mirrored, "main").commit == new

    def test_a_clone_that_is_where_it_was(
        self, repo: Repo, file: Path, empty: Settings, lost: str
    ) -> None:
        repo("update-ref", "-d", keep.KEEP + lost)
        repo("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
        repo("gc", "-q", "--prune=now")
        assert repo("cat-file", "-t", lost, check=False) == ""
        before = repo("for-each-ref", "refs/heads", "refs/tags")
        _, notes = restore(empty, file)
        assert notes == []
        assert repo("show", f"{lost}:dags/etl.py") == "the code that ran"
        assert repo("for-each-ref", "refs/heads", "refs/tags") == before

    @pytest.mark.slow
    def test_runs_as_commands(
        self, gitdags: Run, repo: Repo, tmp_path: Path, airflow_python: str
    ) -> None:
        env = {"GITDAGS_PYTHON": airflow_python}
        repo.commit({"dags/etl.py": dag("etl", "extract")})
        repo("checkout", "-q", "-b", "topic")
        sha = repo.commit({"dags/etl.py": dag("etl", "extract", "the_one_that_ran")})
        gitdags("init", ".", "--name", "sales")
        assert gitdags("stamp", "etl", "nightly", "--at", sha, **env).returncode == 0
        repo("checkout", "-q", "main")
        repo("branch", "-D", "topic")
        done = gitdags("backup", str(tmp_path / "b"))
        assert "1 stamp, 0 deployments" in done.stdout, done.stderr
        shutil.rmtree(repo.path)
        shutil.rmtree(tmp_path / "home")
        done = gitdags("restore", str(tmp_path / "b"), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert gitdags("drain", "--again", cwd=tmp_path, **env).returncode == 0
        (run,) = json.loads(gitdags("--json", "runs", cwd=tmp_path).stdout)
        assert (run["commit"], run["run_id"]) == (sha, "nightly")
        shown = gitdags("show", "etl", "--at", sha, "--code", cwd=tmp_path, **env)
        assert "the_one_that_ran" in shown.stdout


class TestAgain:
    def test_is_nothing_new(
        self, catalog: Catalog, file: Path, settings: Settings, registered: RegisteredRepository
    ) -> None:
        before = told(catalog)
        report, notes = restore(settings, file)
        assert (set(report.rows.values()), notes) == ({0}, [])
        assert told(catalog) == before
        assert catalog.repositories() == [registered]

    def test_adds_to_what_is_there(self, file: Path, empty: Settings) -> None:
        with Catalog(empty) as other:
            other._store.stamps.add([event(9, "8" * 40, try_number=3)])
            restore(empty, file)
            restore(empty, file)
            assert len(other.events(other.runs()[0])) == 5

    def test_writing_replaces(self, file: Path, settings: Settings) -> None:
        store = Store(settings.database)
        report = backup.write(store, file, pytest.fail)
        store.close()
        assert report.bytes == file.stat().st_size
        assert file.stat().st_mode & 0o777 == 0o600
        assert [p.name for p in file.parent.iterdir() if p.name.startswith(".")] == []

    def test_a_repository_that_is_away(
        self, file: Path, settings: Settings, repo: Repo, empty: Settings
    ) -> None:
        repo.path.rename(repo.path.with_name("away"))
        notes: list[str] = []
        store = Store(settings.database)
        report = backup.write(store, file, notes.append)
        store.close()
        assert (report.rows["stamps"], report.commits) == (4, 0)
        assert "without its commits" in notes[0]


class TestBadFiles:
    def untouched(self, empty: Settings, file: Path, what: str) -> None:
        with pytest.raises(BadBackup, match=what):
            restore(empty, file)
        with Catalog(empty) as other:
            assert (other.runs(), other.repositories()) == ([], [])
        assert not (empty.home / "mirrors").exists()

    def rewritten(self, file: Path, change: Callable[[str, bytes], bytes | None]) -> None:
        with tarfile.open(file) as tar:
            members = [(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
        with tarfile.open(file, "w") as tar:
            for name, body in members:
                new = change(name, body)
                if new is not None:
                    info = tarfile.TarInfo(name)
                    info.size = len(new)
                    tar.addfile(info, io.BytesIO(new))

    def test_none(self, empty: Settings, tmp_path: Path) -> None:
        self.untouched(empty, tmp_path / "nothing", "there is no file")

    def test_something_else(self, empty: Settings, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"not a tar at all" * 100)
        self.untouched(empty, tmp_path / "x", "is no backup")

    @pytest.mark.parametrize("part", [0, 0.3, 0.9])
    def test_cut(self, empty: Settings, file: Path, part: float) -> None:
        data = file.read_bytes().rstrip(b"\0")
        file.write_bytes(data[: int(len(data) * part)])
        self.untouched(empty, file, "is no backup")

    def test_a_flipped_bit(self, empty: Settings, file: Path) -> None:
        self.rewritten(
            file, lambda name, body: body[:-9] + b"x" + body[-8:] if "bundle" in name else body
        )
        self.untouched(empty, file, "not what was written")

    def test_a_missing_part(self, empty: Settings, file: Path) -> None:
        self.rewritten(file, lambda name, body: None if name.startswith("stamps") else body)
        self.untouched(empty, file, "missing")

    def test_of_a_later_version(self, empty: Settings, file: Path) -> None:
        self.manifest(file, v=2)
        self.untouched(empty, file, "version 2")

    def test_names_that_lead_out(self, empty: Settings, file: Path) -> None:
        with tarfile.open(file) as tar:
            told = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
        entries = [entry | {"name": "../../x"} for entry in told["repositories"]]
        self.manifest(file, repositories=entries)
        self.untouched(empty, file, "cannot be a repository's name")

    def manifest(self, file: Path, **change: object) -> None:
        self.rewritten(
            file,
            lambda name, body: (
                json.dumps(json.loads(body) | change).encode() if name == "manifest.json" else body
            ),
        )
