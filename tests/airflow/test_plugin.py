"""The plugin: found by Airflow, silent unless configured, light; the listener that it makes."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow._shared.listeners.listener import ListenerManager
from airflow._shared.listeners.spec import lifecycle, taskinstance
from airflow.listeners.spec import dagrun

from gitdags.airflow.listener import Listener
from gitdags.airflow.outbox import Outbox
from gitdags.airflow.plugin import GitDagsPlugin, repositories, views
from gitdags.airflow.runtime import Runtime, packages
from gitdags.catalog import Catalog
from gitdags.spool import Spool
from tests.airflow.conftest import bundle_entry, spooled
from tests.airflow.test_records import C1, C2, Row, task_instance
from tests.conftest import Repo

Configure = Callable[..., None]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, home: Path) -> Callable[[], type]:
    """Loads the plugin as Airflow does; its attributes are put back."""

    def load() -> type:
        monkeypatch.setattr(GitDagsPlugin, "listeners", [])
        monkeypatch.setattr(GitDagsPlugin, "external_views", [])
        GitDagsPlugin.on_load()
        return GitDagsPlugin

    return load


@pytest.fixture
def manager() -> ListenerManager:
    """Airflow's own, with its own specifications: it checks our signatures."""
    manager = ListenerManager()
    for spec in (lifecycle, taskinstance, dagrun):
        manager.add_hookspecs(spec)
    return manager


def test_airflow_finds_it_by_its_entry_point() -> None:
    code = (
        "from airflow.plugins_manager import _get_plugins\n"
        "plugins, errors = _get_plugins()\n"
        "print(errors, *[(p.name, len(p.listeners), len(p.external_views)) for p in plugins])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "{} ('gitdags', 0, 0) ('gitdags-web', 0, 0)"
    assert "gitdags" not in done.stderr


def test_it_loads_nothing_heavy() -> None:
    """Which modules importing and using the plugin adds to those of a task's process."""
    code = (
        "import sys\n"
        "import airflow.sdk.plugins_manager, airflow.listeners, airflow.configuration, airflow.settings\n"
        "before = set(sys.modules)\n"
        "import airflow.plugins_manager; airflows = set(sys.modules)\n"
        "from gitdags.airflow.plugin import GitDagsPlugin; GitDagsPlugin.on_load()\n"
        "assert GitDagsPlugin.listeners and GitDagsPlugin.external_views\n"
        "print(*sorted(set(sys.modules) - airflows))\n"
        "print(*sorted(airflows - before))\n"
    )
    env = {
        **os.environ,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle_entry(mount="/m")]),
        "GITDAGS_WEB_URL": "http://gitdags", "GITDAGS_STAMPS_URL": "http://gitdags",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    ours, airflows = (set(line.split()) for line in done.stdout.splitlines()[-2:])
    tops = {name.split(".")[0] for name in ours | airflows}
    assert not tops & {"sqlalchemy", "pygit2", "git", "fastapi", "starlette", "flask", "alembic"}
    outside = {
        m for m in tops if m not in sys.stdlib_module_names and m not in ("gitdags", "airflow")
    }
    assert outside == set()


def test_it_is_silent_where_no_bundle_of_ours_is(
    loaded: Callable[[], Any], configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure({"name": "x", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
               "kwargs": {"repo": "no", "path": "/tmp"}})  # fmt: skip
    assert (loaded().listeners, loaded().external_views, caplog.records) == ([], [], [])


@pytest.mark.parametrize(
    ("word", "bundle", "count"),
    [("auto", True, 1), ("on", False, 1), ("off", True, 0), ("auto", False, 0)],
)
def test_the_setting_decides(
    loaded: Callable[[], Any], configure: Configure, monkeypatch: pytest.MonkeyPatch,
    word: str, bundle: bool, count: int,
) -> None:  # fmt: skip
    configure(*([bundle_entry(mount="/m")] if bundle else []))
    monkeypatch.setenv("GITDAGS_LISTENER", word)
    assert len(loaded().listeners) == count


def test_a_bad_setting_is_said_in_a_line(
    loaded: Callable[[], Any], configure: Configure, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    configure(bundle_entry(mount="/m"))
    monkeypatch.setenv("GITDAGS_LISTENER", "perhaps")
    assert loaded().listeners == []
    assert [r.message for r in caplog.records] == [
        "gitdags: runs are not stamped: GITDAGS_LISTENER: 'perhaps' is none of auto, on, off"
    ]


def test_bundles_by_name(configure: Configure) -> None:
    configure(
        bundle_entry("a", mount="/m"),
        {"name": "b", "classpath": "gitdags.airflow.GitDagsBundle", "kwargs": {"repo": "r2"}},
        {"name": "c", "classpath": "gitdags.airflow.GitDagsBundle", "kwargs": {}},
        {"name": "d", "classpath": "other.Bundle", "kwargs": {"repo": "r"}},
    )
    assert repositories() == {"a": "sales", "b": "r2"}


@pytest.mark.parametrize("text", ["", "{}", "[1]", "not json"])
def test_a_broken_list_of_bundles_is_airflows_to_report(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", text)
    assert repositories() == {}


def test_links_from_airflows_pages() -> None:
    assert views("", "prod") == []
    found = views("https://gitdags.example/", "a b")
    assert [(v["destination"], v["url_route"]) for v in found] == [
        ("dag", "gitdags-dag"), ("dag_run", "gitdags-dag-run"),
        ("task_instance", "gitdags-task-instance"),
    ]  # fmt: skip
    assert found[1]["href"] == (
        "https://gitdags.example/find?airflow=a%20b&dag_id={DAG_ID}&run_id={RUN_ID}"
    )


# ── the listener, called as Airflow calls it ──────────────────────────────────────────────


def listener(home: Path, **more: Any) -> Listener:
    outbox = Outbox(Spool(home / "spool"))
    return Listener(
        "prod", {"sales": "shop"}, outbox, Runtime(home / "cache", "sha256:abc"), **more
    )


def dag_run(**loaded: Any) -> Row:
    return Row(**{"id": 1, "dag_id": "etl", "run_id": "r", "bundle_version": C1, **loaded})


def test_a_run_and_its_try(manager: ListenerManager, home: Path) -> None:
    manager.add_listener(listener(home))
    hook = manager.hook
    hook.on_starting(component=object())
    hook.on_dag_run_running(dag_run=dag_run(dag_model=Row(bundle_name="sales")), msg="")
    ran = task_instance(C1, f"/mnt/{C1}/dags/etl.py")
    hook.on_task_instance_running(previous_state=None, task_instance=ran)
    hook.on_task_instance_success(previous_state=None, task_instance=ran)
    hook.on_dag_run_success(dag_run=dag_run(), msg="")
    hook.before_stopping(component=object())
    found = spooled(home)
    assert [(r["source"], r["state"], r["commit"], r["repo"]) for r in found] == [
        ("scheduler", "running", C1, "shop"), ("worker", "running", C1, "shop"),
        ("worker", "success", C1, "shop"), ("scheduler", "success", C1, "shop"),
    ]  # fmt: skip
    assert {key: found[1][key] for key in ("python", "image", "packages")} == {
        "python": ".".join(map(str, sys.version_info[:3])),
        "image": "sha256:abc",
        "packages": packages(),
    }


def test_states_that_people_and_schedulers_set(manager: ListenerManager, home: Path) -> None:
    manager.add_listener(listener(home))
    row = Row(dag_id="etl", run_id="r", task_id="t", try_number=1, state="running", id="u")
    manager.hook.on_task_instance_success(previous_state=None, task_instance=row)
    manager.hook.on_task_instance_failed(previous_state=None, task_instance=row, error="lost")
    manager.hook.on_task_instance_skipped(previous_state=None, task_instance=row)
    found = spooled(home)
    assert [(r["source"], r["state"]) for r in found] == [
        ("scheduler", "success"), ("scheduler", "failed"), ("scheduler", "skipped"),
    ]  # fmt: skip
    assert [r for r in found if "commit" in r] == []


@pytest.mark.parametrize("others", [False, True])
def test_runs_of_other_bundles(manager: ListenerManager, home: Path, others: bool) -> None:
    manager.add_listener(listener(home, others=others))
    manager.hook.on_dag_run_running(dag_run=dag_run(dag_model=Row(bundle_name="else")), msg="")
    manager.hook.on_dag_run_success(dag_run=dag_run(), msg="")  # its bundle is not loaded
    ran = task_instance(C2, "/x.py")
    ran.bundle_instance.name = "else"
    manager.hook.on_task_instance_running(previous_state=None, task_instance=ran)
    assert [(r["source"], r.get("repo")) for r in spooled(home)] == (
        [("scheduler", None), ("scheduler", None), ("worker", None)] if others else []
    )


def test_a_bug_in_it_is_said_once_and_airflow_goes_on(
    manager: ListenerManager, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager.add_listener(listener(home))
    for _ in range(2):
        manager.hook.on_task_instance_running(
            previous_state=None,
            task_instance=SimpleNamespace(bundle_instance=SimpleNamespace(), dag_id="etl"),
        )
    assert [r.levelno for r in caplog.records if r.name == "gitdags.listener"] == [logging.ERROR]


def test_a_plain_checkout_is_left_to_the_drainer(
    manager: ListenerManager, home: Path, repo: Repo
) -> None:
    commit = repo.commit({"dags/etl.py": "x = 1\n"})
    manager.add_listener(listener(home, others=True))
    ran = task_instance(None, str(repo.path / "dags/etl.py"), dag_id="etl", run_id="r")
    with Catalog() as catalog:
        catalog.registry.add(str(repo.path), name="shop")
        manager.hook.on_task_instance_running(previous_state=None, task_instance=ran)
        (repo.path / "dags/etl.py").write_text("x = 2\n")
        catalog.drain()
        only = catalog.run("etl", "r").tries[0]
    assert (only.source, only.commit, only.repo, only.dirty) == ("checkout", commit, "shop", True)


def test_rendered_fields_are_masked_as_airflow_masks_them(
    manager: ListenerManager, home: Path
) -> None:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG
    from airflow.sdk._shared.secrets_masker import mask_secret, reset_secrets_masker

    manager.add_listener(listener(home, rendered=True))
    with DAG("etl", schedule=None):
        task = BashOperator(task_id="t", bash_command="echo hunter2", env={"password": "open"})
    mask_secret("hunter2")
    ran = task_instance(C1, None)
    ran.task = task
    manager.hook.on_task_instance_running(previous_state=None, task_instance=ran)
    reset_secrets_masker()
    record = next(r for r in spooled(home) if r["kind"] == "rendered")
    assert record["fields"]["bash_command"] == "echo ***"
    assert record["fields"]["env"] == {"password": "***"}
    assert (record["airflow"], record["run_id"], record["try_number"]) == ("prod", "r", 2)
    assert "hunter2" not in (home / "spool/spool").read_text()


def test_rendered_fields_are_off_until_they_are_wanted(
    manager: ListenerManager, home: Path
) -> None:
    manager.add_listener(listener(home))
    manager.hook.on_task_instance_running(
        previous_state=None, task_instance=task_instance(C1, None)
    )
    assert [r["kind"] for r in spooled(home)] == ["stamp"]


# ── what a try ran with ───────────────────────────────────────────────────────────────────


def test_packages_are_named_once_a_host(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Runtime(home / "cache")
    assert first.warm(wait=True) == packages()
    monkeypatch.setattr("gitdags.airflow.runtime.packages", lambda: pytest.fail("named again"))
    assert Runtime(home / "cache").fields()["packages"] == first.fields()["packages"]


def test_packages_are_named_again_after_an_installation(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = Runtime(home / "cache").warm(wait=True)
    (site / "new-1.0.dist-info").mkdir()
    (site / "new-1.0.dist-info/METADATA").write_text("Name: new\nVersion: 1.0\n")
    os.utime(site, (1, 1))
    assert Runtime(home / "cache").warm(wait=True) != before


def test_a_cache_that_cannot_be_written_costs_a_hash_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert Runtime(tmp_path / "cache").warm(wait=True) == packages()
