"""Airflow's own example DAGs, as published: same bytes everywhere, and the same DAG as Airflow's."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitdags.catalog import Catalog
from gitdags.model import Commit, ListedDag, Listing, RegisteredRepository
from gitdags.reading import ParsedFile
from tests.serialize.conftest import opened_catalog, run_in

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

LOAD = """
import json, sys
try:
    from airflow.serialization.serialized_objects import DagSerialization as Loader
except ImportError:
    from airflow.serialization.serialized_objects import SerializedDAG as Loader
found = {}
for key, own in json.load(sys.stdin).items():
    dag = Loader.from_dict(own)
    found[key] = {
        "dag_id": dag.dag_id,
        "tasks": sorted(dag.task_dict),
        "edges": sorted([a, b] for a, t in dag.task_dict.items() for b in t.downstream_task_ids),
    }
print(json.dumps(found))
"""

BAG = """
import json, sys
try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
from airflow.models.variable import Variable
from airflow.secrets.metastore import MetastoreBackend
MetastoreBackend.get_variable = MetastoreBackend.get_connection = lambda *a, **k: None
folder = json.load(sys.stdin)
sys.path.append(folder)
bag = DagBag(folder)
print(json.dumps({
    dag.dag_id: {
        "tasks": sorted(t.task_id for t in dag.tasks),
        "edges": sorted([t.task_id, b] for t in dag.tasks for b in t.downstream_task_ids),
    }
    for dag in bag.dags.values()
}))
"""


# What imports a provider or library that need not be installed beside Airflow.
OPTIONAL = (
    "example_kubernetes_executor", "example_local_kubernetes_executor",
    "tutorial_taskflow_api_virtualenv",
)  # fmt: skip
# Asks for the time when it is imported, and gives it to a sensor: no two parses are alike.
CLOCK = {("dags/example_sensors.py", "example_sensors")}


@dataclass(frozen=True)
class Examples:
    """A release's examples, indexed in an interpreter; the fixture below says which."""

    catalog: Catalog
    repo: RegisteredRepository
    python: str
    tag: str
    listing: Listing

    @property
    def commit(self) -> Commit:
        return self.catalog.commit(self.repo, self.tag)

    def documents(self) -> dict[str, str]:
        return {row.dag_hash: self.catalog.document_text(row.dag_hash) for row in self.listing.dags}


@pytest.fixture(scope="module", params=["3.3.2", "2.11.0"])
def examples(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, real_history: Path
) -> Iterator[Examples]:
    """The examples of one Airflow, parsed by the same Airflow."""
    name = "airflow_python" if request.param[0] == "3" else "airflow_2_python"
    python = request.getfixturevalue(name)
    home = tmp_path_factory.mktemp("home")
    with opened_catalog(home, real_history, python, engine="airflow") as (catalog, repo):
        catalog.index(repo, request.param)
        yield Examples(catalog, repo, python, request.param, catalog.dags(repo, request.param))


def hashes(files: list[ParsedFile]) -> dict[tuple[str, str], str]:
    return {(f.file, doc.dag_id): doc.dag_hash for f in files for doc in f.documents}


def codes(files: list[ParsedFile]) -> dict[str, Any]:
    return {f.file: f.code for f in files if f.documents}


def key(row: ListedDag) -> tuple[str, str]:
    return row.file, row.dag_id


def test_enough_of_them_parse(examples: Examples) -> None:
    # What needs a provider that is not installed fails, and says so.
    assert len(examples.listing.dags) > 55
    # Two want a plugin to be loaded, one the file systems of a provider.
    assert {(e.file, e.type) for e in examples.listing.errors} <= {
        ("dags/example_workday_timetable.py", "SerializationError"),
        ("dags/example_custom_weight.py", "SerializationError"),
        ("dags/tutorial_objectstorage.py", "TypeError"),
        ("dags/tutorial_objectstorage.py", "ModuleNotFoundError"),
        ("dags/tutorial_objectstorage.py", "ImportError"),
        *((f"dags/{name}.py", "ModuleNotFoundError") for name in OPTIONAL),
    }
    for error in examples.listing.errors:
        assert error.message
        assert "/tmp/" not in error.message + error.traceback


def test_the_same_hashes_in_other_processes_and_places(
    examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {key(row): row.dag_hash for row in examples.listing.dags}
    read = {
        row.file: [tuple(pair) for pair in examples.catalog.files_read(row)]
        for row in examples.listing.dags
    }
    places = {"1": tmp_path / "a", "2": tmp_path / "a longer, deeper" / "plåce"}
    for seed, place in places.items():
        place.mkdir(parents=True)
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        history = examples.catalog.history(examples.repo)
        files = list(history.parse(examples.commit, hash_seed=seed))
        found = hashes(files)
        differing = {k for k in expected if found.get(k) != expected[k]} - CLOCK
        assert differing == set(), f"seed {seed}, in {place}"
        assert found.keys() == expected.keys()
        assert {file: list(code) for file, code in codes(files).items()} == read
        assert list(place.iterdir()) == []


def test_nothing_of_this_machine_is_in_a_document(examples: Examples) -> None:
    folder = tempfile.gettempdir()
    written = source_text(examples)
    for text in examples.documents().values():
        assert "unusual_prefix" not in text
        assert not re.search(r" at 0x[0-9a-f]{4}", text)
        assert str(examples.catalog._settings.home) not in text
        assert examples.python not in text
        for found in re.findall(rf"{re.escape(folder)}/[\w./-]*", text):
            assert found in written, found  # the author's own words


def source_text(examples: Examples) -> str:
    opened = examples.catalog.opened(examples.repo)
    blobs = [opened.blob(entry.oid) for _, entry in opened.walk(examples.commit.tree)]
    return b"\n".join(blobs).decode()


def test_airflows_own_json_loads_back(examples: Examples, tmp_path: Path) -> None:
    given, expected = {}, {}
    for row in examples.listing.dags:
        own = examples.catalog.airflow_json(row)
        assert own is not None
        given[row.dag_hash] = own
        document = json.loads(examples.catalog.document_text(row.dag_hash))
        expected[row.dag_hash] = {
            "dag_id": row.dag_id,
            "tasks": [task["task_id"] for task in document["tasks"]],
            "edges": [edge[:2] for edge in document["edges"]],
        }
    assert run_in(examples.python, LOAD, given, tmp_path) == expected


def test_a_document_agrees_with_itself(examples: Examples) -> None:
    for text in examples.documents().values():
        document = json.loads(text)
        edges = {(a, b) for a, b, _ in document["edges"]}
        tasks = {task["task_id"]: task for task in document["tasks"]}
        groups = {group["group_id"] for group in document["groups"]}
        assert edges == {(t, b) for t, task in tasks.items() for b in task["downstream"]}
        assert edges == {(a, t) for t, task in tasks.items() for a in task["upstream"]}
        assert {task["group"] for task in tasks.values()} <= {*groups, None}
        assert {group["parent"] for group in document["groups"]} <= {*groups, None}


def test_tasks_and_edges_are_those_of_airflows_own_objects(
    examples: Examples, tmp_path: Path
) -> None:
    expected = bag(examples, examples.tag, tmp_path)
    shown = {row.dag_id for row in examples.listing.dags}
    # A DAG that Airflow has but cannot serialize is a failure here, named by its id.
    failed = {e.message.partition(":")[0].removeprefix("DAG ") for e in examples.listing.errors}
    assert expected.keys() - shown <= failed
    if examples.tag.startswith("3"):
        assert shown <= expected.keys()
    else:  # some ask a database that the checkout's Airflow was not given
        assert len(shown & expected.keys()) > 40
    for row in examples.listing.dags:
        if row.dag_id not in expected:
            continue
        document = json.loads(examples.catalog.document_text(row.dag_hash))
        assert expected[row.dag_id] == {
            "tasks": [task["task_id"] for task in document["tasks"]],
            "edges": [edge[:2] for edge in document["edges"]],
        }


def bag(examples: Examples, tag: str, folder: Path) -> dict[str, Any]:
    """dag_id -> tasks and edges of a release, by Airflow's own DagBag over a plain checkout."""
    place = folder / f"checkout-{tag}"
    place.mkdir()
    packed = subprocess.run(
        ["git", "-C", examples.repo.path, "archive", tag], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", str(place)], input=packed.stdout, check=True)
    answer: dict[str, Any] = run_in(examples.python, BAG, str(place / "dags"), place)
    return answer


@pytest.mark.parametrize("examples", ["3.3.2"], indirect=True)
def test_a_comparison_of_releases_agrees_with_airflows_own_objects(
    examples: Examples, tmp_path: Path
) -> None:
    old = bag(examples, "3.2.2", tmp_path)
    new = bag(examples, "3.3.2", tmp_path)
    found = examples.catalog.compare(examples.repo, "3.2.2", "3.3.2")
    listings = [examples.catalog.dags(examples.repo, tag) for tag in ("3.2.2", "3.3.2")]
    for side, listing in zip((old, new), listings, strict=True):
        failing = {e.message.partition(":")[0].removeprefix("DAG ") for e in listing.errors}
        for dag_id in failing & side.keys():
            del side[dag_id]  # one that Airflow cannot serialize is a failure on our side
    assert set(found.added) | set(found.fixed) == new.keys() - old.keys()
    assert set(found.removed) | set(found.failed) == old.keys() - new.keys()
    assert found.removed
    assert found.changed
    told = {
        changed.dag_id: (
            set(changed.tasks_added), set(changed.tasks_removed),
            set(changed.edges_added), set(changed.edges_removed),
        )
        for changed in found.changed
    }  # fmt: skip
    for dag_id in old.keys() & new.keys():
        tasks = [set(side[dag_id]["tasks"]) for side in (old, new)]
        edges = [{tuple(edge) for edge in side[dag_id]["edges"]} for side in (old, new)]
        assert told.get(dag_id, (set(), set(), set(), set())) == (
            tasks[1] - tasks[0], tasks[0] - tasks[1], edges[1] - edges[0], edges[0] - edges[1],
        )  # fmt: skip
