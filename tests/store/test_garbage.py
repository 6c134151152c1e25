"""What nothing refers to goes, what a stamped run has stays; in both databases, beside an index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitdags.model import RegisteredRepository
from gitdags.store import Store
from gitdags.store.runs import Settled
from tests.store.test_stamps import event
from tests.store.test_store import made, snapshot

A, B, C = "a" * 40, "b" * 40, "c" * 40


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.fixture
def repo(store: Store) -> RegisteredRepository:
    """Three commits: two share a document, each has one of its own."""
    repo = store.register(RegisteredRepository("dags", "/srv/dags"))
    for letter in "abc":
        own = made(f"of_{letter}")
        store.save(repo, snapshot(letter, made("shared"), own, tree=letter * 40))
    return repo


def test_nothing_to_remove(store: Store, repo: RegisteredRepository) -> None:
    assert not any(store.garbage.collect({repo.id: []}).values())
    assert store.counts()["documents"] == 4


def test_a_commit_that_is_gone_goes_with_what_only_it_had(
    store: Store, repo: RegisteredRepository
) -> None:
    expected = {"snapshots": 1, "manifests": 1, "documents": 1, "codes": 0, "executed_documents": 0}
    assert store.garbage.collect({repo.id: [A]}, dry=True) == expected
    assert store.counts()["documents"] == 4
    assert store.garbage.collect({repo.id: [A]}) == expected
    assert not any(store.garbage.collect({repo.id: [A]}).values())
    assert set(store.indexed(repo)) == {B, C}
    assert store.document(made("of_a").dag_hash) is None
    assert store.document(made("shared").dag_hash) is not None
    assert store.garbage.commits(repo.id) in ([B, C], [C, B])


def test_all_of_them(store: Store, repo: RegisteredRepository) -> None:
    removed = store.garbage.collect({repo.id: [A, B, C]})
    assert (removed["snapshots"], removed["documents"], removed["codes"]) == (3, 4, 1)
    assert store.counts() == {"repositories": 1, "documents": 0, "manifests": 0, "snapshots": 0}


def test_what_a_run_ran_stays(store: Store, repo: RegisteredRepository) -> None:
    store.stamps.add([event(1), event(2, task_id="x", try_number=1, commit=B, source="worker")])
    row = snapshot("a", made("of_a")).dags[0]
    store.runs.settle(
        [Settled("dags", "dags", A, "sales", row.document.dag_hash, row.code_hash, None)]
    )
    assert store.garbage.collect({repo.id: [A, B, C]})["snapshots"] == 1
    assert set(store.indexed(repo)) == {A, B}


def test_a_document_that_only_a_run_has_left(store: Store, repo: RegisteredRepository) -> None:
    """Its commit was shown in an environment that is gone: the run still has its document."""
    row = snapshot("a", made("of_a")).dags[0]
    store.stamps.add([event(1, commit=None)])
    store.runs.settle(
        [Settled("dags", "dags", None, "sales", row.document.dag_hash, row.code_hash, None)]
    )
    store.garbage.collect({repo.id: [A, B, C]})
    assert store.document(row.document.dag_hash) is not None
    assert store.code(row.code_hash) != []


def test_the_dag_as_executed(store: Store) -> None:
    store.stamps.add([event(1)])
    store.evidence.execute([("default", "sales", "r")], "{}")
    assert store.garbage.collect({})["executed_documents"] == 0
    assert store.evidence.executed(store.runs.newest()[0]) == "{}"


def test_beside_a_running_index(store: Store, repo: RegisteredRepository, database: str) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent.parent)!r})
from tests.store.test_store import Store, made, snapshot
store = Store({database!r})
repo = store.repositories()[0]
for n in range(60):
    letter = "0123456789de"[n % 12]
    store.save(repo, snapshot(letter, made("shared"), made(f"own-{{n % 7}}"), tree=letter * 40))
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    while any(process.poll() is None for process in running):
        store.garbage.collect({repo.id: [letter * 40 for letter in "0123456789abcde"]})
    assert [process.wait() for process in running] == [0, 0]
