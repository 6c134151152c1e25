"""Runs and tries out of events: in whatever order they arrive, whatever they say."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdags.model import Runtime, Stamp
from gitdags.stamp import BadRecord, derive, from_record, manual_id

A, B, C = "a" * 40, "b" * 40, "c" * 40
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def event(number: int, source: str, commit: str | None, **fields: object) -> Stamp:
    return Stamp(
        **{  # type: ignore[arg-type]
            "id": str(number), "airflow": "default", "dag_id": "sales", "run_id": "r",
            "state": "running", "source": source, "at": BEGIN + timedelta(seconds=number),
            "commit": commit, "repo": "dags" if commit else None, **fields,
        }
    )  # fmt: skip


def tried(number: int, source: str, commit: str | None, **fields: object) -> Stamp:
    return event(number, source, commit, **{"task_id": "load", "try_number": 1, **fields})


class TestRun:
    def test_the_scheduler_is_believed_first(self) -> None:
        (run,) = derive([tried(1, "worker", B), event(2, "scheduler", A)])
        assert (run.commit, run.source, run.conflict) == (A, "scheduler", True)
        assert run.stamped_at == BEGIN + timedelta(seconds=1)

    def test_without_it_the_nearest_to_what_ran(self) -> None:
        (run,) = derive([event(1, "deployment", A), tried(2, "worker", A), event(3, "manual", A)])
        assert (run.commit, run.source, run.conflict) == (A, "manual", False)
        (run,) = derive([tried(1, "worker", B)])
        assert (run.commit, run.source, run.state) == (B, "worker", "running")

    def test_nobody_names_a_commit(self) -> None:
        (run,) = derive([event(1, "scheduler", None, state="success")])
        assert (run.commit, run.repo, run.conflict, run.state) == (None, None, False, "success")

    def test_a_run_cleared_to_another_version_keeps_its_first(self) -> None:
        (run,) = derive(
            [
                event(1, "scheduler", A, state="running"),
                tried(2, "worker", A, state="success"),
                event(3, "scheduler", A, state="success"),
                event(4, "scheduler", C, state="running"),
                tried(5, "worker", C, try_number=2, state="success"),
                event(6, "scheduler", C, state="success"),
            ]
        )
        assert (run.commit, run.moved_to, run.conflict, run.state) == (A, (C,), False, "success")
        assert [(t.try_number, t.commit) for t in run.tries] == [(1, A), (2, C)]

    def test_whoever_contradicts_makes_a_conflict(self) -> None:
        (run,) = derive([event(1, "scheduler", A), event(2, "manual", B)])
        assert (run.commit, run.conflict) == (A, True)
        (run,) = derive([event(1, "manual", A), event(2, "manual", B)])
        assert (run.commit, run.conflict) == (A, True)
        assert "conflict" in run.flags

    def test_a_worker_elsewhere_than_the_scheduler_ever_was(self) -> None:
        (run,) = derive([event(1, "scheduler", A), tried(2, "worker", B)])
        assert (run.commit, run.conflict, run.tries[0].conflict) == (A, True, True)

    def test_two_words_of_one_try(self) -> None:
        (run,) = derive([tried(1, "worker", A), tried(2, "path", B)])
        assert run.tries[0].conflict
        assert run.tries[0].commit == A

    def test_made_again_under_the_same_id(self) -> None:
        runs = derive(
            [
                event(1, "scheduler", A, run_uid="7", state="failed"),
                tried(2, "worker", A, state="failed"),
                event(10, "scheduler", B, run_uid="9", state="success"),
                tried(11, "worker", B, state="success"),
            ]
        )
        assert [(r.generation, r.commit, r.state) for r in runs] == [
            (1, A, "failed"),
            (2, B, "success"),
        ]
        assert [[t.commit for t in r.tries] for r in runs] == [[A], [B]]
        assert not any(r.conflict for r in runs)
        assert "made again (2)" in runs[1].flags

    def test_a_clock_that_goes_back_does_not_reopen_a_run(self) -> None:
        (run,) = derive(
            [
                event(1, "scheduler", A, state="running", at=BEGIN + timedelta(hours=1)),
                event(2, "scheduler", A, state="success", at=BEGIN),
            ]
        )
        assert run.state == "success"

    def test_an_old_spool_that_is_drained_late_does_not_reopen_it_either(self) -> None:
        (run,) = derive([event(5, "scheduler", A, state="success"), event(1, "scheduler", A)])
        assert run.state == "success"

    def test_dirty_and_inferred(self) -> None:
        (run,) = derive([event(1, "checkout", A, dirty=True)])
        assert {"dirty", "inferred"} <= set(run.flags)

    def test_what_a_try_ran_with(self) -> None:
        runtime = Runtime("3.3.2", "3.12.1", "sha256:1", "abc")
        (run,) = derive([tried(1, "worker", A), tried(2, "worker", A, runtime=runtime)])
        assert run.tries[0].runtime == runtime

    def test_a_try_ends_once(self) -> None:
        (run,) = derive(
            [
                tried(1, "worker", A, state="success"),
                tried(2, "scheduler", None, state="failed"),
                tried(3, "worker", A, state="running"),
            ]
        )
        assert run.tries[0].state == "failed"


class TestWhoContradicts:
    def test_a_scheduler_that_changes_its_mind_in_the_midst_of_a_run(self) -> None:
        (run,) = derive([event(1, "scheduler", A), event(20, "scheduler", B, state="success")])
        assert (run.commit, run.conflict) == (A, True)

    def test_a_worker_elsewhere_stays_in_conflict_when_the_run_is_cleared_to_there(self) -> None:
        said = [event(1, "scheduler", A), tried(2, "worker", C)]
        assert derive(said)[0].tries[0].conflict
        (run,) = derive([*said, event(20, "scheduler", C)])
        assert (run.conflict, run.tries[0].conflict) == (True, True)

    def test_clocks_that_differ_a_little(self) -> None:
        (run,) = derive(
            [event(1, "scheduler", A), tried(18, "worker", C), event(20, "scheduler", C)]
        )
        assert not run.conflict

    def test_a_row_that_is_imported_later(self) -> None:
        (run,) = derive(
            [event(1, "scheduler", A), event(9, "imported", C), event(20, "scheduler", C)]
        )
        assert not run.conflict

    def test_a_word_on_the_commit_says_nothing_of_the_state(self) -> None:
        (run,) = derive(
            [event(1, "scheduler", A, state="success"), event(5, "manual", A, state="unknown")]
        )
        assert run.state == "success"


events = st.lists(
    st.builds(
        lambda number, source, commit, task, attempt, state, uid: event(
            number, source, commit, task_id=task, try_number=attempt if task else 0, state=state,
            run_uid=uid,
        ),
        st.integers(0, 30),
        st.sampled_from(["scheduler", "worker", "path", "manual", "imported", "checkout"]),
        st.sampled_from([A, B, C, None]),
        st.sampled_from([None, "load", "store"]),
        st.integers(1, 2),
        st.sampled_from(["running", "success", "failed"]),
        st.sampled_from([None, None, "7", "9"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda e: e.id,
)  # fmt: skip


@given(events, st.randoms())
def test_the_order_of_arrival_decides_nothing_but_states(
    found: list[Stamp], random: object
) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def told(these: list[Stamp]) -> list[object]:
        return [
            dataclasses.replace(
                run, state="", tries=tuple(dataclasses.replace(t, state="") for t in run.tries)
            )
            for run in derive(these)
        ]

    assert told(found) == told(shuffled)


@given(events)
def test_nothing_that_was_said_is_hidden(found: list[Stamp]) -> None:
    """Every commit that some event names is shown somewhere, or its run is in conflict."""
    runs = derive(found)
    shown = {r.commit for r in runs} | {c for r in runs for c in r.moved_to}
    shown |= {t.commit for r in runs for t in r.tries}
    for each in found:
        assert each.commit is None or each.commit in shown or any(r.conflict for r in runs)


class TestRecord:
    NOW = datetime(2026, 5, 1, tzinfo=UTC)

    def record(self, **fields: object) -> dict[str, object]:
        return {"id": "1", "dag_id": "sales", "run_id": "r", "source": "worker", **fields}

    def test_whole(self) -> None:
        found = from_record(
            self.record(
                airflow="prod", task_id="load", map_index=3, try_number=2, state="success",
                at=1_700_000_000.5, commit=A.upper(), run_uid=12, airflow_version="3.3.2", dirty=True,
            ),
            self.NOW,
        )  # fmt: skip
        assert (found.airflow, found.map_index, found.commit, found.run_uid) == ("prod", 3, A, "12")
        assert found.at == datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)
        assert found.runtime == Runtime("3.3.2")
        assert found.dirty

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"dag_id": ""}, "no dag_id"), ({"run_id": None}, "no run_id"),
            ({"id": 5}, "no id"), ({"source": "rumour"}, "source"),
            ({"try_number": "1"}, "try_number"), ({"map_index": True}, "map_index"),
            ({"try_number": 1 << 40}, "try_number"), ({"dag_id": ["x"]}, "no text"),
            ({"run_id": "x" * 769}, "longer"), ({"commit": "x" * 256}, "longer"),
            ({"path": "x" * 5_000}, "longer"),
        ],
    )  # fmt: skip
    def test_what_is_none(self, fields: dict[str, object], why: str) -> None:
        with pytest.raises(BadRecord, match=why):
            from_record(self.record(**fields), self.NOW)

    @pytest.mark.parametrize("at", [None, "yesterday", float("nan"), 1e300, True, [], "0000-00-00"])
    def test_an_impossible_time_is_now(self, at: object) -> None:
        assert from_record(self.record(at=at), self.NOW).at == self.NOW

    @given(st.text(min_size=1, max_size=190))
    def test_any_run_id_can_be_stored(self, run_id: str) -> None:
        found = from_record(self.record(run_id=run_id), self.NOW)
        assert "\0" not in found.run_id
        found.run_id.encode()

    def test_what_is_no_commit_is_kept_as_said(self) -> None:
        assert from_record(self.record(commit="main"), self.NOW).commit == "main"

    def test_a_long_id_is_hashed(self) -> None:
        for number in ("é" * 500, "a\0b", "\n"):
            assert len(from_record(self.record(id=number), self.NOW).id) == 64


def test_the_same_stamp_by_hand_is_one() -> None:
    one = event(1, "manual", A)
    assert manual_id(one) == manual_id(dataclasses.replace(one, at=BEGIN, id="x"))
    assert manual_id(one) != manual_id(dataclasses.replace(one, commit=B))
