"""Files and surroundings that are not as one would wish: what is missing, old, odd or broken."""

from __future__ import annotations

import pytest

from tests.serialize.recorder.conftest import Documents, Record, edges, tasks

HEAD = "from airflow import DAG\nfrom airflow.operators.bash import BashOperator\n"


def test_missing_modules_are_named(record: Record) -> None:
    outcome = record(
        """
import acme.tools as tools
from acme.operators.load import LoadOperator, make_name
from acme_lib import retry, Client
from airflow import DAG

@retry(times=3)
def work(): ...

@retry
class Settings:
    region: str
    size: int = 3

with DAG("d", schedule=None) as dag:
    client = Client(region="eu")
    for table in client.tables():
        LoadOperator(task_id=table)
    LoadOperator(task_id="load", name=make_name(tools.PREFIX), region=client.region)
    assert Settings("eu").region == "eu" and Settings(region="us", size=4).size == 4
"""
    )
    assert outcome.errors == ()
    found = outcome.dags[0]
    assert list(tasks(found["document"])) == ["load"]
    load = tasks(found["document"])["load"]
    assert (load["operator"], load["module"]) == ("LoadOperator", "acme.operators.load")
    assert load["attrs"]["region"] == "eu"
    assert load["attrs"]["name"] == {
        "__type": "stand-in",
        "value": "acme.operators.load.make_name()",
    }
    assert {
        "acme is not installed: a stand-in", "acme_lib is not installed: a stand-in",
        "acme_lib.Client().tables() is taken to be empty",
    } <= set(found["guesses"])  # fmt: skip


def test_a_library_that_is_missing_to_another_library_stays_missing(record: Record) -> None:
    """json.tool and the like try optional modules; only the repository's own code gets stand-ins."""
    outcome = record(
        "import importlib.util\nassert importlib.util.find_spec('_no_such_thing') is not None\n"
        "import yaml\nfrom airflow import DAG\ndag = DAG('d')\n"
    )
    assert outcome.errors == ()
    assert not any(guess.startswith("_yaml") for guess in outcome.dags[0]["guesses"])


def test_classes_over_stand_ins(record: Record) -> None:
    outcome = record(
        """
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Optional, TypeVar
import attr
from pydantic import BaseModel
from acme import Base, BaseConfig, Mixin, NotFound, Registry, fetch
from airflow.models import BaseOperator
from airflow import DAG

class One(Base): ...
class Two(One, Mixin):
    def __init__(self, x, **kwargs):
        super().__init__(**kwargs)
        self.x = x
class Abstract(Base, ABC):
    @abstractmethod
    def go(self): ...
@dataclass
class Data(Base):
    a: int
    b: str = "b"
@attr.s(auto_attribs=True)
class Attrs(Base):
    a: int
class Config(BaseConfig):
    name: str
    size: int = 3
class Model(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    registry: Optional[Registry] = None
T = TypeVar("T")
class Box(Base, Generic[T]): ...
class Op(Mixin, BaseOperator):
    def __init__(self, y, **kwargs):
        super().__init__(**kwargs)
        self.y = y

assert isinstance(Two(1), Base) and issubclass(Two, One) and not isinstance(3, Base)
assert Two(1).x == 1 and Data(1).b == "b" and Attrs(2).a == 2
assert Config(name="n").name == "n" and Config(name="n").size == 3
assert Model().registry is None
Box[int]
try:
    raise NotFound("x")
except NotFound as error:
    assert str(error) == "x"
try:
    {}["x"]
except (Registry.DoesNotExist, KeyError):
    pass
user, password, *rest = fetch()
(left, right), third = fetch()
if len(fetch()) > 0 or fetch() is None:
    raise ValueError("made up")
with DAG("d") as dag:
    Op(task_id="op", y=2) >> One(task_id="one", z=3)
"""
    )
    assert outcome.errors == (), outcome.errors[0]["traceback"]
    found = outcome.dags[0]
    assert edges(found["document"]) == ["op>one"]
    assert {k: (t["operator"], t["attrs"]) for k, t in tasks(found["document"]).items()} == {
        "op": ("Op", {"y": 2}), "one": ("One", {"z": 3}),
    }  # fmt: skip
    assert "acme.fetch() is unpacked into 2" in found["guesses"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("print 'hello'", "Missing parentheses"),
        ("try:\n    pass\nexcept ValueError, e:\n    pass", ""),
        ("x = 0777", "leading zeros"),
        ("if 1 <> 2: pass", ""),
        ("raise ValueError, 'x'", ""),
        ("if True:\n\tx = 1\n        y = 2", "inconsistent use of tabs"),
    ],
)
def test_python_2_is_named(record: Record, source: str, why: str) -> None:
    outcome = record(f"from airflow import DAG\n{source}\n")
    assert [e["type"] for e in outcome.errors] == ["Python2"]
    assert outcome.errors[0]["message"].startswith("this is Python 2: ")
    assert why in outcome.errors[0]["message"]
    assert "(a.py, line" in outcome.errors[0]["message"]


def test_what_is_wrong_in_any_python_is_no_python_2(record: Record) -> None:
    assert record("from airflow import DAG\ndef (:\n").errors[0]["type"] == "SyntaxError"


def test_names_of_python_2_in_old_files(documents: Documents) -> None:
    assert documents(
        HEAD
        + "dag = DAG(unicode('d'))\nassert isinstance('x', basestring) and xrange(3)[1] == 1\n",
        "1.10.15",
    )


def test_contrib(documents: Documents) -> None:
    found = documents(
        """
from airflow.contrib.operators import kubernetes_pod_operator
from airflow.contrib.sensors.gcs_sensor import GoogleCloudStorageObjectSensor
from airflow.contrib.hooks.bigquery_hook import BigQueryHook
from airflow.operators import PythonOperator
from airflow import DAG
dag = DAG("d", schedule_interval=None)
a = kubernetes_pod_operator.KubernetesPodOperator(task_id="a", image="i", dag=dag)
b = GoogleCloudStorageObjectSensor(task_id="b", dag=dag)
c = PythonOperator(task_id="c", python_callable=BigQueryHook().run, dag=dag)
a >> b >> c
"""
    )["d"]
    assert [t["operator"] for t in found["tasks"]] == [
        "KubernetesPodOperator", "GoogleCloudStorageObjectSensor", "PythonOperator",
    ]  # fmt: skip
    assert edges(found) == ["a>b", "b>c"]


def test_helpers_wherever_they_lie(record: Record) -> None:
    outcome = record(
        """
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "shared"))
import by_path
from plugins.operators.mine import Mine
from operators.mine import Mine as Again
from team.space.names import NAMES
import beside
from airflow import DAG
here = os.path.dirname(os.path.abspath(__file__))
sql = open(os.path.join(here, "query.sql")).read()
import yaml
tables = yaml.safe_load(open(os.path.join(here, "..", "conf", "tables.yaml")))
with DAG("d", description=sql) as dag:
    for name in [*NAMES, *tables, by_path.NAME, beside.NAME]:
        Mine(task_id=name)
""",
        files={
            "shared/by_path.py": "NAME = 'by_path'",
            "plugins/operators/mine.py": (
                "from airflow.models import BaseOperator\nclass Mine(BaseOperator): pass\n"
            ),
            "team/space/names.py": "NAMES = ['n']",  # a namespace package
            "dags/beside.py": "NAME = 'beside'",
            "dags/query.sql": "select 1",
            "conf/tables.yaml": "[t]",
        },
    )
    assert outcome.errors == (), outcome.errors[0]["traceback"]
    document = outcome.dags[0]["document"]
    assert sorted(tasks(document)) == ["beside", "by_path", "n", "t"]
    assert document["description"] == "select 1"
    assert {
        "dags/beside.py", "dags/query.sql", "conf/tables.yaml", "shared/by_path.py",
        "team/space/names.py", "plugins/operators/mine.py",
    } <= set(outcome.opened)  # fmt: skip


def test_cyclic_imports(record: Record) -> None:
    files = {"dags/one.py": "import two\nA = 1", "dags/two.py": "import one\nB = 2"}
    good = record("import one, two\n" + HEAD + "dag = DAG('d')\nassert two.B\n", files=files)
    assert good.errors == ()
    files["dags/two.py"] = "from one import A"
    bad = record("import one\n" + HEAD + "dag = DAG('d')\n", files=files)
    assert [e["type"] for e in bad.errors] == ["ImportError"]
    assert "circular" in bad.errors[0]["message"]


def test_a_namespace_package_named_like_a_library(documents: Documents) -> None:
    found = documents(
        """
from kubernetes.client import models as k8s
from google.cloud import bigquery
from airflow import DAG
with DAG("d") as dag:
    pod = k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")]))
    client = bigquery.Client()
""",
        files={"dags/kubernetes/manifest.yaml": "a: 1", "dags/google/notes.md": ""},
    )
    assert list(found) == ["d"]


def test_queries_while_it_is_imported(record: Record) -> None:
    outcome = record(
        """
from airflow import DAG
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.hooks.base import BaseHook
import sqlalchemy_redshift, requests_cache
hook = PostgresHook(postgres_conn_id="warehouse")
rows = hook.get_records("select name from tables")
engine = sqlalchemy_redshift.create_engine(BaseHook.get_connection("warehouse").get_uri())
with engine.connect() as connection:
    count = connection.execute("select 1").scalar() + 1
answer = requests_cache.CachedSession().get("https://example.org").json()
with DAG("d") as dag:
    for (name,) in rows:
        raise AssertionError("no row is known")
"""
    )
    assert outcome.errors == (), outcome.errors[0]["traceback"]
    found = outcome.dags[0]
    assert found["placeholders"] == ["connection warehouse"]
    assert any("get_records() is taken to be empty" in guess for guess in found["guesses"])


def test_a_file_that_ends_the_process(record: Record) -> None:
    assert (
        record("import sys\nfrom airflow import DAG\nsys.exit(3)\n").errors[0]["type"]
        == "SystemExit"
    )


def test_an_installed_airflow_is_never_used(documents: Documents) -> None:
    """The interpreter of the tests has one."""
    found = documents(
        "import sys\nfrom airflow.sdk import DAG\nfrom airflow.providers.standard.operators.bash import "
        "BashOperator\nimport airflow\ndag = DAG('d', description=str(airflow.__file__))\n"
        "assert not [n for n in sys.modules if n.startswith('airflow.') and sys.modules[n].__file__]\n"
    )
    assert found["d"]["description"] == "None"
