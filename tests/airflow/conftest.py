"""What the tests of Airflow's side share: a configuration of Airflow, repositories, a store, mounts."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fuse_mount import device, mount, mounts
from fuse_mount.repositories import MountedRepository
from fuse_mount.supervisor import Plan
from gitdags.catalog import Catalog
from gitdags.spool import Spool
from scripts.airflow_instance import Instance
from tests.conftest import Repo

# Read when Airflow is imported, which is when these tests are collected.
_HOME = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

CLASSPATH = "gitdags.airflow.bundle.GitDagsBundle"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gitdags' data directory, which this process and its children use."""
    for name in list(os.environ):
        if name.startswith(("GITDAGS_", "GIT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GITDAGS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "home"


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Airflow keeps its bundles."""
    from airflow.configuration import conf
    from airflow.dag_processing.bundles import base

    folder = tmp_path / "storage"
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(folder))
    monkeypatch.setattr(base, "STALE_BUNDLE_TRACKING_FOLDER", folder / "_tracking")
    assert conf.get("dag_processor", "dag_bundle_storage_path") == str(folder)
    return folder


@pytest.fixture
def registered(repo: Repo, home: Path) -> Callable[[str], None]:
    """Registers the repository by a name."""

    def register(name: str) -> None:
        with Catalog() as catalog:
            catalog.registry.add(str(repo.path), name=name)

    return register


def spooled(home: Path) -> list[dict[str, Any]]:
    """The records that wait in the spool, which stay there."""
    folder = home / "spool"
    copy = home / "copy-of-spool"
    if not folder.exists():
        return []
    shutil.copytree(folder, copy)
    try:
        return [record for taken in Spool(copy).take() for record in taken.records]
    finally:
        shutil.rmtree(copy)


Mount = Callable[..., Path]


def can_mount() -> str | None:
    """Why nothing can be mounted here; None where it can."""
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse on this machine"
    try:
        device.check()
    except device.NoDevice as error:
        return f"no FUSE here: {error.message}"
    return None


def mount_at(path: Path, log: Path, **repositories: Path) -> None:
    """A mount of gitdags in the background."""
    path.mkdir(exist_ok=True)
    known = [MountedRepository(name, str(where), "dags") for name, where in repositories.items()]
    mount.mount(
        Plan(str(path), "kernel"), lambda: known, moves=None, log_file=log, note=lambda _: None
    )


def unmount(path: Path) -> None:
    """Take it down, whoever uses it."""
    if mounts.type_at(str(path)) == device.FSTYPE:
        device.unmount(str(path), lazy=True)


@pytest.fixture
def mount_it(tmp_path: Path) -> Iterator[Mount]:
    """Mounts: mount_it(sales=path) gives the mountpoint."""
    reason = can_mount()
    if reason:
        pytest.skip(reason)
    made: list[Path] = []

    def start(**repositories: Path) -> Path:
        path = tmp_path / f"mnt{len(made)}"
        made.append(path)
        mount_at(path, tmp_path / f"mnt{len(made)}.log", **repositories)
        return path

    yield start
    for path in made:
        unmount(path)


@pytest.fixture(scope="session")
def airflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, made once and copied."""
    folder = tmp_path_factory.mktemp("airflow-database")
    return Instance(folder / "made", []).database


def bundle_entry(name: str = "sales", **kwargs: Any) -> dict[str, Any]:
    """An entry of ``dag_bundle_config_list``."""
    return {"name": name, "classpath": CLASSPATH, "kwargs": {"repo": "sales", **kwargs}}


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets Airflow's list of bundles."""

    def set_bundles(*entries: dict[str, Any]) -> None:
        name = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
        monkeypatch.setenv(name, json.dumps(entries))

    return set_bundles
