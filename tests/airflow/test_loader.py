"""DAG objects out of the store: the same as Airflow makes of the file, without importing it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitdags import airflow as public
from gitdags.airflow.loader import CannotLoad, Kept, Loader
from gitdags.catalog import Catalog, NoSuchDag, NotIndexed
from gitdags.errors import GitdagsError
from gitdags.git import BadRevision
from tests.conftest import Repo, dag

RICH = """
from datetime import datetime, timedelta
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task

raise_if_imported = __import__("os").environ.get("MUST_NOT_BE_IMPORTED") and 1 / 0

with DAG("rich", schedule="30 6 * * 1-5", start_date=datetime(2025, 1, 1), end_date=datetime(2026, 1, 1),
         catchup=True, max_active_runs=3, max_active_tasks=7, tags=["a", "b"],
         default_args={"retries": 2, "retry_delay": timedelta(minutes=7), "owner": "ada"}) as rich:
    first = BashOperator(task_id="first", bash_command="echo {{ ds }}", pool="small", pool_slots=2,
                         priority_weight=9, queue="fast", execution_timeout=timedelta(hours=1))
    with TaskGroup("group") as group:
        left = EmptyOperator(task_id="left", retries=5)
        right = EmptyOperator(task_id="right", depends_on_past=True)
    last = EmptyOperator(task_id="last", trigger_rule="none_failed_min_one_success", weight_rule="upstream")

    @task(retries=1)
    def mapped(n):
        return n

    first >> [left, right] >> last >> mapped.expand(n=[1, 2, 3])

with DAG("second", schedule=timedelta(hours=3), start_date=datetime(2025, 1, 1)) as second:
    EmptyOperator(task_id="only")
"""
OF_DAG = ("dag_id", "start_date", "end_date", "catchup", "max_active_runs", "max_active_tasks", "tags",
          "timezone", "dagrun_timeout", "disable_bundle_versioning", "task_ids")  # fmt: skip
OF_TASK = ("task_id", "retries", "retry_delay", "pool", "pool_slots", "trigger_rule", "priority_weight",
           "queue", "depends_on_past", "execution_timeout", "owner", "start_date", "end_date",
           "upstream_task_ids", "downstream_task_ids", "task_type", "is_mapped")  # fmt: skip


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory, airflow_python: str) -> Iterator[Repo]:
    """A repository whose commits are in the store: rich.py, then a broken one beside another DAG."""
    folder = tmp_path_factory.mktemp("loader")
    repo = Repo(folder / "sales")
    repo.commit({"dags/rich.py": RICH})
    repo("tag", "good")
    repo.commit(
        {"dags/rich.py": RICH + "\nraise ValueError('no')\n", "dags/plain.py": dag("plain")}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITDAGS_HOME", str(folder / "home"))
        patch.setenv("GITDAGS_PYTHON", airflow_python)
        with Catalog() as catalog:
            catalog.index(catalog.registry.add(str(repo.path), name="sales"), everything=True)
        yield repo


def parsed(path: Path) -> dict[str, Any]:
    """What Airflow makes of a DAG file."""
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(
        dag_folder=str(path), bundle_path=path.parent, bundle_name="x", safe_mode=False
    )
    return dict(bag.dags)


def told(thing: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Attributes by name, each in a form that both kinds of object have."""

    def plain(value: Any) -> Any:
        if isinstance(value, (set, frozenset, list, tuple)):
            return sorted(map(str, value))
        return str(getattr(value, "value", value))  # trigger rules and the like are enums

    return {name: plain(getattr(thing, name, None)) for name in names}


def test_what_scheduling_needs_survives(indexed: Repo, tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text(RICH)
    original = parsed(tmp_path / "rich.py")
    loaded = Loader().file("sales", "good", "dags/rich.py")
    assert sorted(loaded) == sorted(original) == ["rich", "second"]
    for dag_id, found in loaded.items():
        whole = original[dag_id]
        assert told(found, OF_DAG) == told(whole, OF_DAG)
        for task_id in whole.task_ids:
            assert told(found.get_task(task_id), OF_TASK) == told(whole.get_task(task_id), OF_TASK)
    rich = loaded["rich"]
    assert rich.timetable.summary == "30 6 * * 1-5"
    assert loaded["second"].timetable.summary == "3:00:00"
    assert rich.get_task("first").pool == "small"
    assert rich.get_task("group.left").retries == 5
    assert "group" in rich.task_group_dict


def test_airflow_can_schedule_it(indexed: Repo) -> None:
    """The next run, as the scheduler asks for it."""
    import pendulum
    from airflow.timetables.base import TimeRestriction

    rich = Loader().dag("sales", "good", "rich")
    info = rich.timetable.next_dagrun_info(
        last_automated_data_interval=None,
        restriction=TimeRestriction(
            earliest=pendulum.datetime(2025, 1, 4), latest=None, catchup=True
        ),
    )
    assert info.run_after == pendulum.datetime(2025, 1, 6, 6, 30)  # a Monday


def test_no_dag_file_is_imported(indexed: Repo, tmp_path: Path) -> None:
    home = indexed.path.parent / "home"
    code = (
        "import sys; from gitdags.airflow import load_dag\n"
        "print(load_dag('sales', 'good', 'rich') and 'loaded')\n"
        "assert not [m for m in sys.modules if 'unusual_prefix' in m]\n"
    )
    env = {"PATH": "/usr/bin:/bin", "GITDAGS_HOME": str(home), "MUST_NOT_BE_IMPORTED": "1",
           "AIRFLOW_HOME": str(tmp_path), "HOME": str(tmp_path)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip().splitlines()[-1:], done.returncode) == (["loaded"], 0), done.stderr


def test_one_object_a_hash(indexed: Repo) -> None:
    loader = Loader()
    sha = indexed("rev-parse", "good")
    assert loader.dag("sales", "good", "rich") is loader.dag("sales", sha, "rich")


def test_a_ref_is_asked_for_again_and_a_commit_never(indexed: Repo) -> None:
    now = [0.0]
    loader = Loader(clock=lambda: now[0])
    indexed("branch", "moving", "main")
    assert loader.dag("sales", "moving", "plain").task_ids == ["only"]
    sha = indexed("rev-parse", "moving")
    indexed("branch", "--force", "moving", "good")
    now[0] = 9.9
    loader.dag("sales", "moving", "plain")
    now[0] = 10.1
    with pytest.raises(NoSuchDag):
        loader.dag("sales", "moving", "plain")
    assert loader.dag("sales", sha, "plain").dag_id == "plain"


@pytest.mark.parametrize(
    ("rev", "dag_id", "error", "words"),
    [
        ("main", "rich", CannotLoad, "fails at .*ValueError: no"),
        ("good", "ricj", NoSuchDag, "there is no DAG 'ricj'"),
        ("nowhere", "rich", BadRevision, "nowhere"),
    ],
)
def test_what_cannot_be_loaded_is_said(
    indexed: Repo, rev: str, dag_id: str, error: type[GitdagsError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        Loader().dag("sales", rev, dag_id)
    assert caught.value.hint


def test_files_that_cannot_be_loaded(indexed: Repo) -> None:
    for path, words in (("dags/rich.py", "fails at"), ("dags/none.py", "defines no DAG")):
        with pytest.raises(CannotLoad, match=words):
            Loader().file("sales", "main", path)


def test_it_never_parses(indexed: Repo) -> None:
    tree = indexed("rev-parse", "good^{tree}")
    commit = indexed("commit-tree", tree, "-m", "never indexed")
    with pytest.raises(NotIndexed):
        Loader().dag("sales", commit, "rich")


def test_threads_share_what_is_loaded(indexed: Repo) -> None:
    loader, found = Loader(), []

    def load() -> None:
        found.append(loader.dag("sales", "good", "second").dag_id)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["second"] * 8


def test_so_many_at_most() -> None:
    kept: Kept[int, int] = Kept(2)
    for n in (1, 2):
        kept.put(n, n)
    kept.get(1)
    kept.put(3, 3)
    assert [kept.get(n) for n in (1, 2, 3)] == [1, None, 3]


def test_the_public_names() -> None:
    wanted: dict[str, Callable[..., Any]] = {n: getattr(public, n) for n in public.__all__}
    assert sorted(wanted) == ["GitDagsBundle", "load_dag", "load_file"]
    with pytest.raises(AttributeError):
        public.nothing  # noqa: B018
