"""Airflow's DAG processor while a mount is gone, a repository unknown, the store of another version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitdags.catalog import Catalog
from gitdags.config import Settings
from scripts.airflow_instance import Instance
from tests.airflow.conftest import bundle_entry, can_mount, mount_at, unmount
from tests.conftest import Repo, dag

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture
def mnt(tmp_path: Path, repo: Repo) -> Iterator[Path]:
    reason = can_mount()
    if reason:
        pytest.skip(reason)
    repo.commit({"dags/etl.py": dag("etl", "extract", "load")})
    mount_at(tmp_path / "mnt", tmp_path / "mnt.log", sales=repo.path)
    yield tmp_path / "mnt"
    unmount(tmp_path / "mnt")


def rows(instance: Instance, query: str) -> list[Any]:
    database = sqlite3.connect(f"file:{instance.database}?mode=ro", uri=True)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()


def test_a_dag_processor_in_trouble(
    mnt: Path, tmp_path: Path, repo: Repo, airflow_database: Path
) -> None:
    home = tmp_path / "home"
    with Catalog(Settings({"home": str(home)}, {}, None, None)) as catalog:
        catalog.registry.add(str(repo.path), name="sales")
    with sqlite3.connect(home / "gitdags.db") as store:
        store.execute("update alembic_version set version_num = '9999'")
    store.close()
    bundles = [
        bundle_entry("good", mount=str(mnt), ref="main"),
        bundle_entry("unknown", repo="nobody", mount=str(mnt), ref="main"),
        bundle_entry("newer", export=str(tmp_path / "depot"), ref="main"),
    ]
    env = {
        "GITDAGS_HOME": str(home),
        # Airflow's clean-up of DAGs it no longer sees, which would take those of a bundle in trouble.
        "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "1",
    }
    with Instance(tmp_path / "instance", bundles, env=env, template=airflow_database) as airflow:
        log = airflow.log("dag-processor")

        def logged(words: str, after: int = 0, times: int = 1) -> bool:
            return log.read_text()[after:].count(words) >= times

        def dags() -> list[Any]:
            return rows(airflow, "select dag_id, is_stale, bundle_version from dag")

        airflow.start("dag-processor")
        airflow.wait(dags, "the DAG of the good bundle is there")
        first = repo("rev-parse", "HEAD")
        assert dags() == [("etl", 0, first)]
        for words in (
            "no repository is registered as 'nobody' (hint: gitdags init PATH --name nobody)",
            "bundle newer: the store has schema 9999; this gitdags knows ",
        ):
            airflow.wait(lambda words=words: logged(words), words)

        unmount(mnt)
        at = len(log.read_text())
        gone = f"nothing is mounted on {mnt} (hint: gitdags mount {mnt})"
        # Several rounds: of refreshing, parsing and cleaning up.
        airflow.wait(lambda: logged(gone, at, 8), gone)
        assert dags() == [("etl", 0, first)]
        assert rows(airflow, "select count(*) from import_error") == [(0,)]

        second = repo.commit({"dags/etl.py": dag("etl", "extract")})
        mount_at(mnt, tmp_path / "mnt.log", sales=repo.path)
        airflow.wait(lambda: dags() == [("etl", 0, second)], "it goes on once the mount is back")
