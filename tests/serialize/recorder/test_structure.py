"""DAGs, tasks, edges, groups: what a file builds is what is recorded, in every era's words."""

from __future__ import annotations

import pytest

from tests.serialize.recorder.conftest import Documents, Record, edges, tasks


def test_a_file_of_1_10(documents: Documents) -> None:
    found = documents(
        """
from airflow import DAG
from airflow.operators.bash_operator import BashOperator
from airflow.operators.dummy_operator import DummyOperator
from airflow.contrib.operators.bigquery_operator import BigQueryOperator
from airflow.utils.dates import days_ago
from datetime import timedelta
dag = DAG("old", "a description", "@daily", days_ago(2), default_args={"owner": "ada", "retries": 3})
a = BashOperator(task_id="a", bash_command="echo", dag=dag)
b = DummyOperator(task_id="b", dag=dag)
c = BigQueryOperator(task_id="c", bql="select 1", dag=dag, trigger_rule="all_done")
a.set_downstream(b)
c.set_upstream([b])
"""
    )["old"]
    assert edges(found) == ["a>b", "b>c"]
    kinds = {key: (task["operator"], task["module"]) for key, task in tasks(found).items()}
    assert kinds == {
        "a": ("BashOperator", "airflow.operators.bash_operator"),
        "b": ("DummyOperator", "airflow.operators.dummy_operator"),
        "c": ("BigQueryOperator", "airflow.contrib.operators.bigquery_operator"),
    }
    assert tasks(found)["a"]["templated"]["bash_command"] == "echo"
    assert tasks(found)["c"]["attrs"]["bql"] == "select 1"
    assert tasks(found)["c"]["trigger_rule"] == "all_done"
    assert (found["schedule"], found["description"]) == (
        {"type": "cron", "value": "0 0 * * *"},
        "a description",
    )
    assert (found["catchup"], found["owners"]) == (True, ["ada"])
    assert tasks(found)["a"]["attrs"]["retries"] == 3


SHIFTS = """
from airflow import DAG
from airflow.operators.empty import EmptyOperator
from airflow.models.baseoperator import chain, cross_downstream
from airflow.utils.edgemodifier import Label
from airflow.utils.task_group import TaskGroup
with DAG("d", schedule=None) as dag:
    a, b, c, d, e, f = (EmptyOperator(task_id=i) for i in "abcdef")
    a >> Label("yes") >> b
    [a, b] >> c << d
    chain(c, [e, f])
    with TaskGroup("g", tooltip="tip") as g:
        x = EmptyOperator(task_id="x")
        with TaskGroup("inner", prefix_group_id=False):
            y = EmptyOperator(task_id="y")
        x >> y
    with TaskGroup("empty") as empty:
        pass
    e >> g >> Label("after") >> f
    cross_downstream([d], [x, y])
"""


def test_shifts_labels_groups_and_chains(documents: Documents) -> None:
    found = documents(SHIFTS)["d"]
    assert edges(found) == [
        "a>c", "a>yes>b", "b>c", "c>e", "c>f", "d>c", "d>g.x", "d>y", "e>g.x", "g.x>y", "y>after>f",
    ]  # fmt: skip
    groups = [(g["group_id"], g["parent"], g["label"], g["tooltip"]) for g in found["groups"]]
    assert groups == [
        ("g", None, "g", "tip"), ("g.inner", "g", "inner", ""), ("empty", None, "empty", ""),
    ]  # fmt: skip
    assert {key: task["group"] for key, task in tasks(found).items()} == {
        **dict.fromkeys("abcdef"), "g.x": "g", "y": "g.inner",
    }  # fmt: skip


TASKFLOW = """
from airflow.sdk import dag, task, task_group, setup, teardown, Asset
import pendulum

@task
def extract(n: int = 3) -> dict[str, int]:
    "Take it."
    return {"n": n}

@task.branch
def choose(x):
    return "left"

@task(retries=2)
def add(x, y=1):
    return x + y

@task_group
def work(values):
    add.partial(y=2).expand(x=values)
    return add(values)

@dag(schedule=[Asset("x")], start_date=pendulum.datetime(2025, 1, 1), tags=["t"])
def flow(limit=10):
    "What it is for."
    first = extract()
    again = extract.override(task_id="again")()
    third = extract(first["n"])
    result = work(first)
    choose(result) >> [again]
    add.expand_kwargs([{"x": 1}, {"x": 2}])

flow()
"""


def test_taskflow(documents: Documents) -> None:
    found = documents(TASKFLOW)["flow"]
    assert edges(found) == [
        "choose>again", "extract>extract__1", "extract>work.add", "extract>work.add__1",
        "work.add__1>choose",
    ]  # fmt: skip
    every = tasks(found)
    assert every["choose"]["operator"] == "_BranchPythonDecoratedOperator"
    assert every["extract"]["operator"] == "_PythonDecoratedOperator"
    assert every["extract"]["doc_md"] == "Take it."
    assert every["extract"]["attrs"]["multiple_outputs"] is True
    assert every["extract"]["attrs"]["python_callable"]["name"] == "__dag__.extract"
    assert every["extract"]["attrs"]["python_callable"]["source"].startswith("@task\ndef extract")
    mapped = {key: task["mapped"] for key, task in every.items() if task["mapped"]}
    assert mapped == {
        "add": {"type": "list-of-dicts", "value": [{"x": 1}, {"x": 2}]},
        "work.add": {
            "type": "dict-of-lists",
            "value": {
                "x": {"__type": "xcom", "value": {"key": "return_value", "task_id": "extract"}}
            },
        },
    }
    assert found["doc_md"] == "What it is for."
    assert found["schedule"]["type"] == "assets"
    assert found["catchup"] is False
    assert found["params"]["limit"]["value"] == 10


def test_results_in_any_argument_are_edges(documents: Documents) -> None:
    found = documents(
        """
from airflow.sdk import DAG, task
from somewhere.operators import LoadOperator
with DAG("d"):
    @task
    def make(): ...
    made = make()
    load = LoadOperator(task_id="load", config={"a": [{"b": made}]}, other="x")
    LoadOperator.partial(task_id="each", fixed=load.output).expand(path=made.map(str))
"""
    )["d"]
    assert edges(found) == ["load>each", "make>each", "make>load"]
    assert tasks(found)["each"]["operator"] == "LoadOperator"
    assert tasks(found)["each"]["module"] == "somewhere.operators"


def test_setup_and_teardown(documents: Documents) -> None:
    found = documents(
        """
from airflow.sdk import DAG, TaskGroup, task, setup, teardown
from airflow.providers.standard.operators.bash import BashOperator
with DAG("d"):
    start = BashOperator(task_id="start", bash_command="a").as_setup()
    end = BashOperator(task_id="end", bash_command="b").as_teardown(setups=start)
    with TaskGroup("g") as g:
        s = BashOperator(task_id="s", bash_command="a").as_setup()
        w = BashOperator(task_id="w", bash_command="c")
        t = BashOperator(task_id="t", bash_command="b").as_teardown(setups=s)
        s >> w >> t
    after = BashOperator(task_id="after", bash_command="d")
    g >> after

    @setup
    def make(): ...
    @teardown(on_failure_fail_dagrun=True)
    def drop(): ...
    with make() >> drop():
        BashOperator(task_id="one", bash_command="x") >> BashOperator(task_id="two", bash_command="y")
"""
    )["d"]
    assert edges(found) == [
        "g.s>g.t", "g.s>g.w", "g.w>after", "g.w>g.t", "make>drop", "make>one", "one>two", "start>end",
        "two>drop",
    ]  # fmt: skip
    every = tasks(found)
    assert every["end"]["attrs"]["is_teardown"] is True
    assert every["end"]["trigger_rule"] == "all_done_setup_success"
    assert every["drop"]["attrs"]["on_failure_fail_dagrun"] is True
    assert every["make"]["attrs"]["is_setup"] is True


def test_operators_of_the_authors_own_take_default_args(documents: Documents) -> None:
    found = documents(
        """
from airflow import DAG
from airflow.models import BaseOperator
from airflow.utils.decorators import apply_defaults

class Mine(BaseOperator):
    template_fields = ("path",)
    ui_color = "#123456"
    @apply_defaults
    def __init__(self, path, conn_id, *args, **kwargs):
        super(Mine, self).__init__(*args, **kwargs)
        self.path, self.conn_id = path, conn_id

class Narrow(Mine):
    def __init__(self, **kwargs):
        super().__init__(conn_id="fixed", **kwargs)

with DAG("d", schedule_interval=None, default_args={"conn_id": "db", "owner": "ada", "retries": 4}):
    Mine(task_id="m", path="/x") >> Narrow(task_id="n", path="/y")
"""
    )["d"]
    m, n = tasks(found)["m"], tasks(found)["n"]
    assert (m["module"], m["ui_color"], m["template_fields"]) == ("__dag__", "#123456", ["path"])
    assert (m["templated"], m["attrs"]["conn_id"], m["attrs"]["retries"]) == (
        {"path": "/x"},
        "db",
        4,
    )
    assert n["attrs"]["conn_id"] == "fixed"
    assert found["owners"] == ["ada"]


def test_subdags_are_dags_too(documents: Documents) -> None:
    found = documents(
        """
from airflow import DAG
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.subdag_operator import SubDagOperator
def sub(parent):
    dag = DAG(parent + ".part", schedule_interval="@daily")
    DummyOperator(task_id="inside", dag=dag)
    return dag
main = DAG("main", schedule_interval="@daily")
part = SubDagOperator(task_id="part", subdag=sub("main"), dag=main)
"""
    )
    assert sorted(found) == ["main", "main.part"]
    assert list(tasks(found["main.part"])) == ["inside"]


SCHEDULES = """
from datetime import timedelta
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.timetables.trigger import CronTriggerTimetable
from airflow.timetables.assets import AssetOrTimeSchedule
for name, schedule in {
    "none": None, "once": "@once", "daily": "@daily", "cron": "0 5 * * *", "delta": timedelta(hours=2),
    "continuous": "@continuous", "plain": CronTriggerTimetable("0 5 * * *", timezone="UTC"),
    "zoned": CronTriggerTimetable("0 5 * * *", timezone="America/New_York"),
    "assets": [Asset("x"), Asset("y")], "some": Asset("x") | AssetAlias("z"),
    "either": AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 5 * * *", timezone="UTC"), assets=[Asset("x")]),
}.items():
    globals()[name] = DAG(name, schedule=schedule)
"""


def test_schedules(documents: Documents) -> None:
    found = {name: one["schedule"] for name, one in documents(SCHEDULES).items()}
    asset = {n: {"__type": "asset", "value": {"name": n, "uri": n, "extra": {}}} for n in "xy"}
    alias = {"__type": "asset_alias", "value": {"name": "z"}}
    assert {name: one["type"] for name, one in found.items()} == {
        "none": "none", "once": "once", "daily": "cron", "cron": "cron", "delta": "timedelta",
        "continuous": "continuous", "plain": "cron", "zoned": "timetable", "assets": "assets",
        "some": "assets", "either": "timetable",
    }  # fmt: skip
    assert found["daily"]["value"] == "0 0 * * *"
    assert found["delta"]["value"] == 7200
    assert found["assets"]["value"] == {"__type": "asset_all", "value": [asset["x"], asset["y"]]}
    assert found["some"]["value"] == {"__type": "asset_any", "value": [asset["x"], alias]}
    assert found["zoned"]["value"]["fields"]["timezone"] == "America/New_York"
    assert found["either"]["value"]["class"] == "airflow.timetables.assets.AssetOrTimeSchedule"


def test_a_dag_of_an_asset(documents: Documents) -> None:
    found = documents(
        """
from airflow.sdk import asset
@asset(schedule="@daily", uri="s3://bucket/a")
def numbers(): ...
@asset(schedule=numbers)
def sums(numbers): ...
"""
    )
    assert {name: list(tasks(one)) for name, one in found.items()} == {
        "numbers": ["numbers"], "sums": ["sums"],
    }  # fmt: skip
    assert found["sums"]["schedule"]["type"] == "assets"


@pytest.mark.parametrize(
    ("era", "operator", "catchup", "schedule", "ids"),
    [
        ("1.10.15", "DummyOperator", True, "timedelta", ["named"]),
        ("2.2.5", "DummyOperator", True, "timedelta", ["named"]),
        ("2.10.5", "EmptyOperator", True, "timedelta", ["entered", "named"]),
        ("3.3.2", "EmptyOperator", False, "none", ["entered", "named"]),
    ],
)
def test_what_differs_by_era(
    documents: Documents, era: str, operator: str, catchup: bool, schedule: str, ids: list[str]
) -> None:
    found = documents(
        """
import airflow
from airflow import DAG
from airflow.operators.dummy import DummyOperator
named = DAG("named", description=airflow.__version__)
DummyOperator(task_id="a", dag=named)
def make():
    with DAG("entered"):
        DummyOperator(task_id="a")
make()
""",
        era,
    )
    assert sorted(found) == ids
    named = found["named"]
    assert named["description"] == era
    assert (named["tasks"][0]["operator"], named["catchup"], named["schedule"]["type"]) == (
        operator,
        catchup,
        schedule,
    )


@pytest.mark.parametrize(
    ("era", "line"),
    [
        ("1.10.15", "from airflow.decorators import task"),
        ("2.2.5", "from airflow.datasets import Dataset"),
        ("2.10.5", "from airflow.sdk import DAG as D"),
        ("3.3.2", "from airflow.contrib.hooks.x import Y"),
        ("3.3.2", "from airflow.operators.subdag import SubDagOperator"),
    ],
)
def test_a_module_that_the_era_has_not(record: Record, era: str, line: str) -> None:
    guarded = f"try:\n    {line}\n    new = True\nexcept ImportError:\n    new = False\n"
    outcome = record(f"{guarded}from airflow import DAG\ndag = DAG('new' if new else 'old')\n", era)
    assert [one["document"]["dag_id"] for one in outcome.dags] == ["old"]
    # Unguarded it does not import there: the file is taken for what it was written for.
    outcome = record(f"{line}\nfrom airflow import DAG\ndag = DAG('d')\n", era)
    assert [one["document"]["dag_id"] for one in outcome.dags] == ["d"]
    assert (
        f"Airflow {era}, which the commit is for, does not import it" in outcome.dags[0]["guesses"]
    )
    # What is wrong for every era is told in the words of the commit's own.
    broken = record(f"{line}\nfrom airflow import DAG\nraise KeyError\n", era)
    assert [e["type"] for e in broken.errors] == ["ModuleNotFoundError"]


def test_a_likely_era_is_for_files_that_can_be_for_it(documents: Documents) -> None:
    source = "from airflow import DAG\nimport airflow\ndag = DAG('d', description=airflow.__version__{})\n"
    assert documents(source.format(""), "~2.2.5")["d"]["description"] == "2.2.5"
    assert documents(source.format(", schedule=None"), "~2.2.5")["d"]["description"] == "3.3.2"


@pytest.mark.parametrize(
    ("body", "era", "kind", "message"),
    [
        (
            "A(task_id='a') >> A(task_id='b') >> dag.get_task('a')",
            "",
            "AirflowDagCycleException",
            "d",
        ),
        ("A(task_id='a'); A(task_id='a')", "2.2.5", "DuplicateTaskIdFound", "'a' has already been"),
        ("A(task_id='a') >> 3", "", "TypeError", "received int"),
        ("A('a')", "", "AirflowException", "keyword arguments"),
    ],
)
def test_what_airflow_refuses_is_refused(
    record: Record, body: str, era: str, kind: str, message: str
) -> None:
    source = f"""
from airflow import DAG
from airflow.operators.bash import BashOperator as A
with DAG("d") as dag:
    {body}
"""
    outcome = record(source, era)
    assert outcome.dags == ()
    assert [e["type"] for e in outcome.errors] == [kind]
    assert message in outcome.errors[0]["message"]


def test_an_old_argument_is_an_error_in_3(record: Record) -> None:
    source = "from airflow import DAG\ndag = DAG('d', schedule_interval=None)\n"
    refused = record(source, "3.0.6").dags[0]["guesses"]
    assert "Airflow 3.0.6, which the commit is for, does not import it" in refused
    for era in ("2.10.5", ""):
        assert not any(
            "does not import" in guess for guess in record(source, era).dags[0]["guesses"]
        )


def test_a_task_added_twice_stayed_once_in_1_10(record: Record) -> None:
    source = """
from airflow import DAG
from airflow.operators.bash_operator import BashOperator
dag = DAG("d")
BashOperator(task_id="a", bash_command="1", dag=dag)
BashOperator(task_id="a", bash_command="2", dag=dag)
"""
    outcome = record(source, "1.10.15")
    assert [t["templated"]["bash_command"] for t in outcome.dags[0]["document"]["tasks"]] == ["2"]
    assert "task a was added twice; the last one stays" in outcome.dags[0]["guesses"]
