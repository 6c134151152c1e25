"""What stands in a document, on DAG files that use it, parsed by real Airflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gitdags.catalog import Catalog
from tests.conftest import Repo

pytestmark = pytest.mark.usefixtures("airflow_python")

Described = Callable[[str], dict[str, Any]]


@pytest.fixture
def described(catalog: Catalog, repo: Repo) -> Described:
    """dag_id -> document of the DAGs in one file."""

    def parse(source: str) -> dict[str, Any]:
        repo.commit({"dags/a.py": source})
        found = catalog.registry.add(str(repo.path))
        listing = catalog.dags(found)
        assert listing.errors == ()
        return {row.dag_id: catalog.document(found, row.dag_id).document for row in listing.dags}

    return parse


SCHEDULES = """
from datetime import timedelta
import pendulum
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable
start = pendulum.datetime(2025, 1, 1)
found = [DAG(name, schedule=schedule, start_date=start) for name, schedule in {
    "none": None, "once": "@once", "daily": "@daily", "cron": "0 5 * * *", "delta": timedelta(hours=2),
    "zoned": CronTriggerTimetable("0 5 * * *", timezone="America/New_York"),
    "wide": CronTriggerTimetable("0 5 * * *", timezone="UTC", interval=timedelta(hours=1)),
    "asset": [Asset("x")], "some": (Asset("x") & Asset("y", group="g")) | AssetAlias("z"),
    "either": AssetOrTimeSchedule(
        assets=[Asset("x")], timetable=CronTriggerTimetable("0 5 * * *", timezone="UTC")),
}.items()]
for dag in found:
    globals()[dag.dag_id] = dag
"""


def test_schedules(described: Described) -> None:
    found = {name: document["schedule"] for name, document in described(SCHEDULES).items()}
    x = {"__type": "asset", "value": {"name": "x", "uri": "x", "extra": {}}}
    y = {"__type": "asset", "value": {"name": "y", "uri": "y", "extra": {}, "group": "g"}}
    z = {"__type": "asset_alias", "value": {"name": "z"}}
    every = {"__type": "asset_all", "value": [x]}
    cron = {"expression": "0 5 * * *", "run_immediately": False, "timezone": "UTC"}
    kind = "airflow.timetables.trigger.CronTriggerTimetable"
    assert found["none"] == {"type": "none", "value": None}
    assert found["once"] == {"type": "once", "value": None}
    assert found["daily"] == {"type": "cron", "value": "0 0 * * *"}
    assert found["cron"] == {"type": "cron", "value": "0 5 * * *"}
    assert found["delta"] == {"type": "timedelta", "value": 7200}
    assert found["zoned"]["value"]["fields"]["timezone"] == "America/New_York"
    assert found["wide"] == {
        "type": "timetable",
        "value": {"class": kind, "fields": cron | {"interval": 3600.0}},
    }
    assert found["asset"] == {"type": "assets", "value": every}
    assert found["some"] == {
        "type": "assets",
        "value": {"__type": "asset_any", "value": [{"__type": "asset_all", "value": [x, y]}, z]},
    }
    fields = found["either"]["value"]["fields"]
    assert fields["assets"] == every
    assert fields["timetable"]["class"] == kind


TASKS = """
from functools import partial
from airflow.sdk import DAG, Label, TaskGroup, task, Param
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator

def greet(who, cfg=None):
    return who

def alert(context):
    return context

with DAG("d", schedule=None, params={"n": Param(3, type="integer")}, default_args={"retries": 2},
         on_failure_callback=alert) as dag:
    with TaskGroup("g", tooltip="a group") as g:
        first = BashOperator(task_id="first", bash_command="echo {{ ds }}", env={"A": "1"},
                             on_failure_callback=alert, retries=5)
    second = PythonOperator(task_id="second", python_callable=partial(greet, "x"),
                            op_kwargs={"cfg": {"name": "orders", "source": "s3"}}, trigger_rule="all_done")
    first >> Label("then") >> second

    @task
    def double(x):
        return x * 2

    double.partial().expand(x=[1, 2])
    make = BashOperator(task_id="make", bash_command="a").as_setup()
    second >> Label("more") >> make
    drop = BashOperator(task_id="drop", bash_command="b").as_teardown(setups=make)
"""


def test_tasks(described: Described) -> None:
    document = described(TASKS)["d"]
    tasks = {task["task_id"]: task for task in document["tasks"]}
    assert list(tasks) == ["double", "drop", "g.first", "make", "second"]
    assert document["edges"] == [
        ["g.first", "second", "then"],
        ["make", "drop", None],
        ["second", "make", "more"],
    ]
    assert [(g["group_id"], g["parent"], g["tooltip"]) for g in document["groups"]] == [
        ("g", None, "a group")
    ]
    assert document["params"]["n"]["value"] == 3
    assert document["default_args"] == {"retries": 2}
    assert document["callbacks"]["on_failure_callback"][0]["name"] == "__dag__.alert"

    first = tasks["g.first"]
    assert (first["operator"], first["group"], first["attrs"]["retries"]) == (
        "BashOperator",
        "g",
        5,
    )
    assert first["templated"]["bash_command"] == "echo {{ ds }}"
    assert first["callbacks"]["on_failure_callback"][0]["source"].startswith("def alert(context):")
    assert "params" not in first["attrs"]

    second = tasks["second"]
    assert second["trigger_rule"] == "all_done"
    assert second["attrs"]["python_callable"]["name"] == "__dag__.greet"
    assert second["attrs"]["retries"] == 2
    # What an author writes is never taken for a callable of ours.
    assert second["templated"]["op_kwargs"]["cfg"] == {
        "__type": "dict",
        "value": [["name", "orders"], ["source", "s3"]],
    }

    assert tasks["double"]["mapped"] == {"type": "dict-of-lists", "value": {"x": [1, 2]}}
    assert tasks["double"]["attrs"]["python_callable"]["source"].startswith("@task\n")
    assert tasks["make"]["attrs"]["is_setup"] is True
    assert tasks["drop"]["attrs"]["is_teardown"] is True
