"""Stamps and runs in both databases: once each, whatever comes twice, from however many at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitdags.model import RegisteredRepository, Runtime, Stamp
from gitdags.store import Store
from gitdags.store.runs import Settled
from tests.store.test_store import made, snapshot

A, B = "a" * 40, "b" * 40
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def event(number: int | str, run_id: str = "r", **fields: object) -> Stamp:
    seconds = number if isinstance(number, int) else 0
    return Stamp(
        **{  # type: ignore[arg-type]
            "id": str(number), "airflow": "default", "dag_id": "sales", "run_id": run_id,
            "state": "running", "source": "scheduler", "at": BEGIN + timedelta(seconds=seconds),
            "commit": A, "repo": "dags", **fields,
        }
    )  # fmt: skip


class TestAdding:
    def test_an_event_and_its_run(self, store: Store) -> None:
        runtime = Runtime("3.3.2", "3.12.1", "sha256:1", "abc")
        assert (
            store.stamps.add([event(1), event(2, task_id="load", try_number=1, runtime=runtime)])
            == 2
        )
        (run,) = store.runs.newest()
        assert (run.commit, run.state, run.dag_hash, run.doubt) == (A, "running", None, None)
        assert [(t.task_id, t.commit, t.runtime) for t in run.tries] == [("load", A, runtime)]
        assert [e.id for e in store.stamps.events(run)] == ["1", "2"]
        assert store.stamps.events(run)[1].runtime == runtime

    def test_the_same_event_twice(self, store: Store) -> None:
        assert store.stamps.add([event(1), event(1)]) == 1
        assert store.stamps.add([event(1)]) == 0
        assert len(store.runs.newest()) == 1

    def test_nothing(self, store: Store) -> None:
        assert store.stamps.add([]) == 0

    def test_a_later_event_changes_the_row_not_the_first_commit(self, store: Store) -> None:
        store.stamps.add([event(1)])
        store.stamps.add([event(2, commit=B, state="success")])
        (run,) = store.runs.newest()
        assert (run.commit, run.moved_to, run.state) == (A, (B,), "success")

    def test_a_run_made_again(self, store: Store) -> None:
        store.stamps.add([event(1, run_uid="7"), event(2, task_id="load", try_number=1)])
        store.stamps.add([event(20, task_id="load", try_number=1, commit=B)])
        store.stamps.add([event(10, run_uid="8", commit=B)])
        new, old = store.runs.newest()
        assert [(r.generation, r.commit, [t.commit for t in r.tries]) for r in (old, new)] == [
            (1, A, [A]), (2, B, [B]),
        ]  # fmt: skip
        assert [r.generation for r in store.runs.find("sales", "r")] == [2, 1]

    def test_two_installations_with_the_same_ids(self, store: Store) -> None:
        store.stamps.add([event(1), event(2, airflow="staging", commit=B)])
        assert {(r.airflow, r.commit) for r in store.runs.find("sales", "r")} == {
            ("default", A), ("staging", B),
        }  # fmt: skip
        assert [r.airflow for r in store.runs.newest(airflow="staging")] == ["staging"]

    @pytest.mark.parametrize(
        "run_id", ["a b", "x/y?z#%", "😀", "'; DROP TABLE runs; --", "\n\t", "é" * 900]
    )
    def test_run_ids_of_any_characters(self, store: Store, run_id: str) -> None:
        store.stamps.add([event(1, run_id)])
        assert [r.run_id for r in store.runs.newest(dag_id="sales")] == [run_id]

    def test_many_at_once(self, store: Store, database: str) -> None:
        store.upgrade()
        code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent.parent)!r})
from tests.store.test_stamps import Store, event
store, me = Store({database!r}), int(sys.argv[1])
for n in range(30):
    shared = [event(1000 + n, f"r{{n}}")]
    own = [event(2000 + 100 * me + n, f"r{{n}}", task_id=f"t{{me}}", try_number=1)]
    store.stamps.add(shared + own)
"""
        running = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(4)]
        assert [process.wait() for process in running] == [0] * 4
        runs = store.runs.newest()
        assert len(runs) == 30
        assert {tuple(sorted(t.task_id for t in run.tries)) for run in runs} == {
            ("t0", "t1", "t2", "t3")
        }


class TestReading:
    def test_by_commit_also_where_a_try_went_there(self, store: Store) -> None:
        store.stamps.add(
            [
                event(1, "one"), event(2, "two", commit=B),
                event(3, "one", task_id="load", try_number=2, commit=B, source="worker"),
            ]
        )  # fmt: skip
        assert [r.run_id for r in store.runs.newest(commit=A)] == ["one"]
        assert [r.run_id for r in store.runs.newest(commit=B)] == ["two", "one"]
        assert [r.run_id for r in store.runs.newest(commit=B, limit=1)] == ["two"]

    def test_pages(self, store: Store) -> None:
        store.stamps.add([event(n, f"r{n}") for n in range(7)])
        seen: list[str] = []
        before = None
        while page := store.runs.newest(limit=3, before=before):
            seen += [run.run_id for run in page]
            before = (page[-1].stamped_at, page[-1].id)
        assert seen == [f"r{n}" for n in reversed(range(7))]

    def test_the_last_success_before(self, store: Store) -> None:
        store.stamps.add(
            [
                event(1, "one", state="success"), event(2, "two", state="success", commit=B),
                event(3, "three", state="failed"), event(4, "four", state="success"),
                event(2, "other", state="success", airflow="staging", id="x"),
            ]
        )  # fmt: skip
        three = store.runs.find("sales", "three")[0]
        found = store.runs.last_success(three)
        assert found is not None
        assert (found.run_id, found.commit) == ("two", B)
        assert store.runs.last_success(store.runs.find("sales", "one")[0]) is None


class TestSettling:
    @pytest.fixture
    def row(self, store: Store) -> tuple[str, str]:
        repo = store.register(RegisteredRepository("dags", "/srv/dags"))
        found = snapshot("a", made("sales"), made("other"))
        store.save(repo, found)
        return found.dags[0].document.dag_hash, found.dags[0].code_hash

    def test_a_document_is_set_once(self, store: Store, row: tuple[str, str]) -> None:
        store.stamps.add([event(1), event(2, "later")])
        assert {r.run_id for r in store.runs.unsettled()} == {"r", "later"}
        settled = Settled("dags", "dags", A, "sales", *row, None)
        assert store.runs.settle([settled]) == 2
        assert store.runs.settle([settled]) == 0
        assert {(r.dag_hash, r.code_hash) for r in store.runs.newest()} == {row}
        store.stamps.add([event(3, state="success")])
        assert {r.dag_hash for r in store.runs.newest()} == {row[0]}
        assert store.runs.known("dags", "sales", A) == (row[0], False)

    def test_another_commit_is_another_document(self, store: Store, row: tuple[str, str]) -> None:
        store.stamps.add([event(2, source="worker", task_id="load")])
        store.runs.settle([Settled("dags", "dags", A, "sales", *row, None)])
        store.stamps.add([event(3, commit=B)])
        assert [(r.commit, r.dag_hash) for r in store.runs.newest()] == [(B, None)]

    def test_tries_elsewhere(self, store: Store, row: tuple[str, str]) -> None:
        store.stamps.add(
            [event(1, commit=B), event(2, commit=A), event(3, task_id="x", try_number=2)]
        )
        assert [(dag, t.commit) for dag, t in store.runs.unsettled_tries()] == [("sales", A)]
        store.runs.settle([Settled("dags", "dags", A, "sales", *row, None)])
        assert store.runs.unsettled_tries() == []
        assert store.runs.newest()[0].tries[0].dag_hash == row[0]

    def test_doubt_and_again(self, store: Store) -> None:
        store.stamps.add([event(1, repo=None)])
        store.runs.settle([Settled(None, None, A, "sales", None, None, "unknown repository")])
        assert store.runs.unsettled() == []
        assert store.runs.newest()[0].flags == ("unknown repository",)
        assert store.runs.counts() == {"runs": 1, "conflicts": 0, "doubtful": 1, "unsettled": 0}
        assert store.runs.doubt_again(["unknown repository"]) == 1
        assert len(store.runs.unsettled()) == 1


class TestEvidence:
    def record(self, number: int, run_id: str, task_id: str = "load") -> dict[str, object]:
        return {
            "airflow": "default", "dag_id": "sales", "run_id": run_id, "task_id": task_id,
            "map_index": -1, "try_number": number, "fields": {"sql": f"SELECT {number}\0"},
        }  # fmt: skip

    def test_rendered_fields_of_the_newest_runs(self, store: Store) -> None:
        store.stamps.add([event(n, f"r{n}") for n in range(5)])
        for n in range(5):
            store.evidence.render([self.record(1, f"r{n}"), self.record(2, f"r{n}")], 3)
        kept = {run.run_id: store.evidence.rendered(run) for run in store.runs.newest()}
        assert {name for name, fields in kept.items() if fields} == {"r2", "r3", "r4"}
        assert kept["r4"]["load", -1, 2] == {"sql": "SELECT 2␀"}

    def test_of_an_unknown_run(self, store: Store) -> None:
        assert store.evidence.render([self.record(1, "nobody")], 3) == 0

    def test_the_dag_as_executed_is_kept_once(self, store: Store) -> None:
        store.stamps.add([event(1)])
        key = ("default", "sales", "r")
        assert store.evidence.execute([key], '{"dag": 1}') == 1
        assert store.evidence.execute([key], '{"dag": 2}') == 0
        assert store.evidence.executed(store.runs.newest()[0]) == '{"dag": 1}'
