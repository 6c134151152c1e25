"""Events to records: what is read of a row, what a worker's task instance tells."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdags.airflow import records
from gitdags.spool import Spool

C1, C2 = "1" * 40, "2" * 40
REPOS = {"sales": "shop"}


class Row:
    """A row that must not be asked for what is not loaded."""

    def __init__(self, **loaded: Any) -> None:
        self.__dict__.update(loaded)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a query for {name}")


def task_instance(version: str | None, fileloc: str | None, **more: Any) -> SimpleNamespace:
    values = {"dag_id": "etl", "run_id": "r", "task_id": "t", "try_number": 2, "map_index": -1,
              "id": "01a20e2c", "state": "running"}  # fmt: skip
    dag = SimpleNamespace(fileloc=fileloc)
    return SimpleNamespace(
        **{**values, **more},
        task=SimpleNamespace(dag=dag),
        bundle_instance=SimpleNamespace(name="sales", version=version),
    )


def test_a_run_is_read_from_what_is_loaded() -> None:
    row = Row(id=7, dag_id="etl", run_id="r", bundle_version=C1, dag_model=Row(bundle_name="sales"))
    assert records.of_run(row, "running", "prod", REPOS) == {
        "kind": "stamp", "airflow": "prod", "dag_id": "etl", "run_id": "r", "run_uid": "7",
        "state": "running", "source": "scheduler", "bundle": "sales", "repo": "shop", "commit": C1,
    }  # fmt: skip


def test_a_run_of_which_little_is_loaded() -> None:
    record = records.of_run(Row(dag_id="etl", run_id="r"), "failed", "prod", REPOS)
    assert record is not None
    assert (record["run_uid"], record["bundle"], record["commit"]) == (None, None, None)
    assert "repo" not in record
    assert records.of_run(Row(run_id="r"), "failed", "prod", REPOS) is None
    known = records.of_run(Row(dag_id="etl", run_id="r"), "failed", "prod", REPOS, "sales")
    assert known is not None
    assert known["repo"] == "shop"


@pytest.mark.parametrize("version", ["v1.2", "", "abc", C1.upper() + "A", 5])
def test_a_version_of_another_kind_of_bundle_is_no_commit(version: Any) -> None:
    record = records.of_run(Row(dag_id="d", run_id="r", bundle_version=version), "x", "a", {})
    assert record is not None
    assert record["commit"] is None


def test_who_sends_it() -> None:
    assert records.from_worker(task_instance(C1, None))
    assert not records.from_worker(Row(dag_id="etl", run_id="r", task_id="t"))


def test_a_row_of_a_task_tells_its_state_and_no_commit() -> None:
    row = Row(dag_id="etl", run_id="r", task_id="t", map_index=3, try_number=1, id="u",
              state=SimpleNamespace(value="up_for_retry"))  # fmt: skip
    assert records.of_row(row, "failed", "prod") == {
        "kind": "stamp", "airflow": "prod", "dag_id": "etl", "run_id": "r", "task_id": "t",
        "map_index": 3, "try_number": 1, "ti_id": "u", "state": "up_for_retry",
        "source": "scheduler", "bundle": None,
    }  # fmt: skip
    assert records.of_row(Row(dag_id="etl", run_id="r"), "failed", "prod") is None


def test_a_worker_tells_its_bundle_version_and_path() -> None:
    path = f"/mnt/shop/{C1}/dags/etl.py"
    assert records.of_try(task_instance(C1, path), "running", "prod", REPOS) == [
        {
            "kind": "stamp", "airflow": "prod", "dag_id": "etl", "run_id": "r", "task_id": "t",
            "map_index": -1, "try_number": 2, "ti_id": "01a20e2c", "state": "running",
            "bundle": "sales", "path": path, "source": "worker", "commit": C1, "repo": "shop",
        }
    ]  # fmt: skip


def test_a_path_of_another_commit_is_told_beside() -> None:
    found = records.of_try(task_instance(C1, f"/mnt/shop/{C2}/dags/e.py"), "running", "p", REPOS)
    assert [(r["source"], r["commit"]) for r in found] == [("worker", C1), ("path", C2)]


def test_without_a_version_the_real_path_tells(tmp_path: Path) -> None:
    (tmp_path / C2 / "dags").mkdir(parents=True)
    (tmp_path / "current").symlink_to(tmp_path / C2)
    found = records.of_try(
        task_instance(None, str(tmp_path / "current/dags/etl.py")), "success", "p", REPOS
    )
    assert [(r["source"], r["commit"]) for r in found] == [("path", C2)]
    assert found[0]["path"] == os.path.realpath(tmp_path / C2 / "dags/etl.py")


def test_with_neither_it_says_so() -> None:
    for fileloc in ("/opt/dags/etl.py", "", None):
        found = records.of_try(task_instance(None, fileloc), "running", "p", REPOS)
        assert [(r["source"], r["commit"]) for r in found] == [("worker", None)]


def test_a_failure_that_is_tried_again() -> None:
    instance = task_instance(C1, None, state=SimpleNamespace(value="up_for_retry"))
    assert records.of_try(instance, "failed", "p", REPOS)[0]["state"] == "up_for_retry"


@pytest.mark.parametrize(
    ("path", "commit"),
    [
        (f"/mnt/shop/{C1}/dags/x.py", C1), (f"/mnt/{C1}", C1), (f"/a/{C1}/b/{C2}/c", C1),
        (f"/mnt/{C1}0/x", None), (f"/mnt/x{C1}/y", None), ("/mnt/main/dags", None), (None, None),
    ],
)  # fmt: skip
def test_the_commit_in_a_path(path: str | None, commit: str | None) -> None:
    assert records.commit_in(path) == commit


anything = st.text(st.characters(exclude_categories=()), min_size=1, max_size=300)


@given(dag_id=anything, run_id=anything, task_id=anything)
def test_names_of_any_characters_come_back_from_the_spool(
    dag_id: str, run_id: str, task_id: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"))
    names = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
    spool.append(records.of_try(task_instance(C1, None, **names), "running", "p", REPOS)[0])
    run = records.of_run(Row(dag_id=dag_id, run_id=run_id, bundle_version=C1), "x", "p", REPOS)
    assert run is not None
    spool.append(run)
    first, second = next(iter(spool.take())).records
    assert {key: first[key] for key in names} == names
    assert (second["dag_id"], second["run_id"]) == (dag_id, run_id)
    assert json.dumps(first).isascii()
