"""Variables, connections, configuration and environment: given, defaulted, or placeholders by name."""

from __future__ import annotations

from tests.serialize.recorder.conftest import Record, tasks

HEAD = """
import json, os
from airflow import DAG
from airflow.configuration import conf
from airflow.hooks.base import BaseHook
from airflow.models import Variable, Connection
from airflow.operators.bash import BashOperator
"""


def test_given(record: Record) -> None:
    outcome = record(
        HEAD
        + """
db = BaseHook.get_connection("db")
other = Connection.get_connection_from_secrets("other")
with DAG(Variable.get("name"), description=os.environ["PLAIN"], schedule_interval=None) as dag:
    for table in Variable.get("tables", deserialize_json=True)["list"]:
        command = f"{db.host}:{db.port}/{db.schema} {db.login}"
        BashOperator(task_id=table, bash_command=command, env=other.extra_dejson)
""",
        environ={
            "AIRFLOW_VAR_NAME": "sales", "AIRFLOW_VAR_TABLES": '{"list": ["a", "b"]}', "PLAIN": "text",
            "AIRFLOW_CONN_DB": "postgres://ada:pw@host:5432/db",
            "AIRFLOW_CONN_OTHER": '{"conn_type": "http", "extra": {"k": "v"}}',
        },
    )  # fmt: skip
    assert outcome.errors == ()
    found = outcome.dags[0]
    assert (found["document"]["dag_id"], found["document"]["description"]) == ("sales", "text")
    assert list(tasks(found["document"])) == ["a", "b"]
    a = tasks(found["document"])["a"]
    assert a["templated"]["bash_command"] == "host:5432/db ada"
    assert a["templated"]["env"] == {"k": "v"}
    assert found["placeholders"] == []


def test_missing_ones_are_placeholders_and_listed(record: Record) -> None:
    outcome = record(
        HEAD
        + """
from datetime import timedelta
config = Variable.get("config", deserialize_json=True)
host = BaseHook.get_connection("db").host
with DAG(f"d_{Variable.get('region')}", description=conf.get("acme", "thing"), schedule_interval=None) as dag:
    BashOperator(task_id="a", bash_command=config["bucket"], cwd=config.get("cwd", "/tmp"))
    BashOperator(task_id="b", bash_command=os.environ["HOME_URL"], env={"x": host})
    BashOperator(task_id="c", bash_command=Variable.get("with_default", "fallback"))
    for table in config["tables"]:
        raise AssertionError
"""
    )
    assert outcome.errors == (), outcome.errors[0]["traceback"]
    found = outcome.dags[0]
    assert found["document"]["dag_id"] == "d___var.region__"
    a, b, c = (tasks(found["document"])[name] for name in "abc")
    assert a["templated"] == {"bash_command": "__var.config.bucket__", "cwd": "/tmp", "env": None}
    assert b["templated"]["bash_command"] == "__env.HOME_URL__"
    assert b["templated"]["env"] == {"x": "__conn.db.host__"}
    assert c["templated"]["bash_command"] == "fallback"
    assert found["placeholders"] == [
        "variable config", "connection db", "variable region", "configuration acme.thing",
        "environment HOME_URL",
    ]  # fmt: skip


def test_numbers_dates_json_and_files_from_placeholders(record: Record) -> None:
    outcome = record(
        HEAD
        + """
import ast
from datetime import datetime, timedelta
n = Variable.get("n")
start = datetime.strptime(Variable.get("start"), "%Y-%m-%d")
key = json.loads(Variable.get("json"))["key"]
with DAG("d", schedule_interval=timedelta(minutes=int(n)), start_date=start) as dag:
    BashOperator(task_id="a", bash_command=key, retry_delay=timedelta(seconds=n))
    for line in open(f"/etc/{n}/list.txt"):
        raise AssertionError
    for one in ast.literal_eval(Variable.get("list")):
        raise AssertionError
"""
    )
    assert outcome.errors == (), outcome.errors[0]["traceback"]
    found = outcome.dags[0]
    assert found["document"]["schedule"] == {"type": "timedelta", "value": 60}
    assert found["document"]["start_date"] == "2020-01-01T00:00:00Z"
    assert tasks(found["document"])["a"]["templated"]["bash_command"] == "__var.json.key__"
    assert any(guess.startswith("the file /etc/__var.n__") for guess in found["guesses"])
    assert "the date __var.start__ is taken to be 2020-01-01" in found["guesses"]


def test_a_file_that_cannot_live_with_placeholders_gets_empty_strings_then_none(
    record: Record,
) -> None:
    check = (
        HEAD + "value = Variable.get('v')\nif value {}: raise ValueError(value)\ndag = DAG('d')\n"
    )
    empty = record(check.format("!= ''"))
    assert [one["document"]["dag_id"] for one in empty.dags] == ["d"]
    assert (
        "what is missing is an empty string: the file cannot live with placeholders"
        in (empty.dags[0]["guesses"])
    )
    none = record(check.format("is not None"))
    assert (
        "what is missing is None: the file cannot live with placeholders" in none.dags[0]["guesses"]
    )
    never = record(check.format("!= int('3')"))
    assert never.dags == ()
    assert never.errors[0]["message"] == "__var.v__"


def test_a_file_that_knows_a_few_values_only_gets_one_of_them(record: Record) -> None:
    outcome = record(
        HEAD
        + """
stage = Variable.get("stage")
if stage == "dev":
    names = ["a"]
elif stage in ("prod", "test"):
    names = ["a", "b"]
else:
    raise ValueError(stage)
with DAG("d") as dag:
    for name in names:
        BashOperator(task_id=name, bash_command=stage)
"""
    )
    assert outcome.errors == ()
    found = outcome.dags[0]
    assert tasks(found["document"])["a"]["templated"]["bash_command"] == "dev"
    assert "variable stage is taken to be 'dev': the file compares it with that" in found["guesses"]
    assert found["placeholders"] == ["variable stage"]


def test_trying_again_begins_anew(record: Record) -> None:
    outcome = record(
        HEAD
        + "import state\nstate.SEEN.append(1)\nos.environ['LEFT'] = 'x'\nvalue = Variable.get('v')\n"
        "if value is not None: raise ValueError\ndag = DAG('d', description=str(len(state.SEEN)))\n",
        files={"dags/state.py": "import os\nassert 'LEFT' not in os.environ\nSEEN = []\n"},
    )
    assert outcome.errors == (), outcome.errors[0]["traceback"]
    assert outcome.dags[0]["document"]["description"] == "1"


def test_settings(record: Record) -> None:
    outcome = record(
        HEAD + "from airflow import settings\nfrom airflow.settings import TIMEZONE, Session\n"
        "from datetime import datetime\nassert os.path.isdir(settings.DAGS_FOLDER)\n"
        "dag = DAG('d', start_date=datetime(2025, 1, 1, tzinfo=TIMEZONE), schedule_interval=None)\n"
    )
    assert outcome.errors == (), outcome.errors[0]["traceback"]
    assert outcome.dags[0]["document"]["start_date"] == "2025-01-01T00:00:00Z"


def test_asked_for_without_a_default(record: Record) -> None:
    """As in a deployment that does not set it; a file that is not prepared for that gets a text."""
    outcome = record(HEAD + "x = os.getenv('SCHEDULE')\ndag = DAG('d', schedule_interval=x)\n")
    assert outcome.dags[0]["document"]["schedule"] == {"type": "none", "value": None}
    assert outcome.dags[0]["placeholders"] == ["environment SCHEDULE"]
    outcome = record(HEAD + "x = os.getenv('PREFIX') + '_dag'\ndag = DAG(x)\n")
    assert outcome.dags[0]["document"]["dag_id"] == "__env.PREFIX___dag"


def test_the_environment_of_libraries_is_left_alone(record: Record) -> None:
    outcome = record(
        HEAD + "import tempfile, subprocess, locale\ntempfile.gettempdir(); locale.getlocale()\n"
        "dag = DAG('d', description=os.environ.get('UNSET', 'default'))\n"
    )
    assert outcome.dags[0]["document"]["description"] == "default"
    assert outcome.dags[0]["placeholders"] == []


def test_withheld_secrets_are_placeholders(record: Record) -> None:
    outcome = record(
        HEAD + "t = json.loads(Variable.get('api_token'))\ndag = DAG('d', description=t['key'])\n",
        environ={"AIRFLOW_VAR_API_TOKEN": "<secret AIRFLOW_VAR_API_TOKEN>"},
    )
    assert outcome.errors == (), outcome.errors[0]["traceback"]
    assert outcome.dags[0]["document"]["description"] == "<secret AIRFLOW_VAR_API_TOKEN.key>"
