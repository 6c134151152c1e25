"""Runs from before gitdags, out of a real metadata database of Airflow."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

import pytest

from gitdags.airflow_api import AirflowApi, ApiRefused
from gitdags.catalog import Catalog
from gitdags.model import Imported, RegisteredRepository
from gitdags.store.airflow_db import NoAirflowDatabase
from tests.conftest import Repo, dag


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, airflow_python: str) -> tuple[Repo, str]:
    """A repository, and the URL of the database of an Airflow that ran its DAG twice."""
    folder = tmp_path_factory.mktemp("past")
    repo = Repo(folder / "repo")
    sha = repo.commit({"dags/sales.py": dag("sales", "extract", "load")})
    home = folder / "airflow"
    home.mkdir()
    script = Path(__file__).with_name("airflow_past.py")
    subprocess.run([airflow_python, "-P", script, home, repo.path / "dags", sha], check=True)
    repo.commit({"dags/sales.py": dag("sales", "extract", "store")}, "later")
    return repo, f"sqlite:///{home}/airflow.db"


@pytest.fixture
def registered(catalog: Catalog, deployed: tuple[Repo, str]) -> RegisteredRepository:
    return catalog.registry.add(str(deployed[0].path), name="dags")


@pytest.mark.airflow
@pytest.mark.slow
class TestDatabase:
    def test_its_runs(
        self, catalog: Catalog, registered: RegisteredRepository, deployed: tuple[Repo, str]
    ) -> None:
        repo, url = deployed
        found = catalog.import_runs(database=url, airflow="old", repo=registered)
        assert found == Imported(runs=2, new=2, inferred=1, without=0, executed=2)
        versioned, plain = catalog.run("sales", "versioned"), catalog.run("sales", "plain")
        assert (versioned.airflow, versioned.state, versioned.source, versioned.bundle) == (
            "old", "success", "imported", "dags",
        )  # fmt: skip
        assert versioned.commit == repo("rev-parse", "HEAD~1")
        assert (plain.commit, plain.source) == (repo("rev-parse", "HEAD"), "date")
        assert "inferred" in plain.flags

    def test_again_is_nothing_new(
        self, catalog: Catalog, registered: RegisteredRepository, deployed: tuple[Repo, str]
    ) -> None:
        catalog.import_runs(database=deployed[1], repo=registered)
        again = catalog.import_runs(database=deployed[1], repo=registered)
        assert (again.new, again.executed) == (0, 0)

    def test_without_a_repository(self, catalog: Catalog, deployed: tuple[Repo, str]) -> None:
        assert catalog.import_runs(database=deployed[1]).without == 1
        assert catalog.run("sales", "plain").commit is None

    def test_as_executed_beside_as_parsed(
        self, catalog: Catalog, registered: RegisteredRepository, deployed: tuple[Repo, str]
    ) -> None:
        catalog.import_runs(database=deployed[1], repo=registered)
        before = catalog.executed(catalog.run("sales", "versioned"))
        assert before is not None
        assert before.differences is None  # no document yet
        catalog.settle()
        same = catalog.executed(catalog.run("sales", "versioned"))
        assert same is not None
        assert same.differences == ()
        # The run without a version is taken to have run the later commit; what it executed says not.
        other = catalog.executed(catalog.run("sales", "plain"))
        assert other is not None
        paths = {difference.path.split(".")[1] for difference in other.differences or ()}
        assert {"load", "store"} <= paths


class TestOtherDatabases:
    def test_of_an_airflow_before_bundles(
        self, catalog: Catalog, repo: Repo, tmp_path: Path
    ) -> None:
        """The columns that Airflow 1.10 has: times as text, no versions."""
        first = repo.commit({"dags/a.py": dag("a")})
        registered = catalog.registry.add(str(repo.path), name="dags")
        with sqlite3.connect(tmp_path / "old.db") as db:
            db.executescript(
                """
                CREATE TABLE dag (dag_id VARCHAR(250) PRIMARY KEY, is_paused BOOLEAN);
                CREATE TABLE dag_run (id INTEGER PRIMARY KEY, dag_id VARCHAR(250), run_id VARCHAR(250),
                    execution_date DATETIME, start_date DATETIME, state VARCHAR(50));
                INSERT INTO dag_run VALUES (1, 'a', 'scheduled__1', '2025-06-01 00:00:00.000000',
                    '2025-06-02 00:00:01.000000', 'success');
                INSERT INTO dag_run VALUES (2, 'a', 'scheduled__0', '2019-01-01 00:00:00', NULL, NULL);
                """
            )
        db.close()
        found = catalog.import_runs(database=f"sqlite:///{tmp_path}/old.db", repo=registered)
        assert found == Imported(runs=2, new=2, inferred=1, without=1, executed=0)
        assert catalog.run("a", "scheduled__1").commit == first
        assert catalog.run("a", "scheduled__0").state == "unknown"

    @pytest.mark.parametrize("url", ["nonsense", "sqlite:////nowhere/x.db", "foo://x"])
    def test_none_at_all(self, catalog: Catalog, url: str) -> None:
        with pytest.raises(NoAirflowDatabase) as caught:
            catalog.import_runs(database=url)
        assert caught.value.hint

    def test_of_something_else(self, catalog: Catalog) -> None:
        catalog.repositories()
        with pytest.raises(NoAirflowDatabase, match="no database of Airflow's"):
            catalog.import_runs(database=f"sqlite:///{catalog.spool.folder.parent}/gitdags.db")

    def test_it_is_only_read(self, deployed: tuple[Repo, str], catalog: Catalog) -> None:
        path = Path(deployed[1].removeprefix("sqlite:///"))
        before = path.read_bytes()
        catalog.import_runs(database=deployed[1])
        assert path.read_bytes() == before


class TestApi:
    @pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x", "http://"])
    def test_no_address(self, url: str) -> None:
        with pytest.raises(ApiRefused, match="no address"):
            AirflowApi(url)

    def test_nobody_there(self, catalog: Catalog) -> None:
        with pytest.raises(ApiRefused, match="cannot be reached") as caught:
            catalog.import_runs(api="http://127.0.0.1:9")
        assert caught.value.status == 0
