"""gitdags runs, stamp, drain, suspects and show --run, as a person types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gitdags.spool import Spool
from tests.cli.conftest import Call, World

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def ran(world: World) -> World:
    """Stamps of four runs: good at `begin`, bad at `structure`, gone at a commit nobody has, and one of
    another installation with the good run's id."""
    spool = Spool(world.home / "spool")

    def stamp(run_id: str, state: str, commit: str, **fields: object) -> None:
        record = {"kind": "stamp", "airflow": "prod", "dag_id": "etl", "run_id": run_id}
        spool.append({**record, "state": state, "source": "scheduler", "commit": commit, **fields})

    stamp("good", "success", world.commits["begin"])
    stamp("bad", "failed", world.commits["structure"])
    stamp(
        "bad", "failed", world.commits["code"], source="worker", task_id="load", try_number=1,
        map_index=4,
    )  # fmt: skip
    stamp("gone", "success", "e" * 40)
    stamp("good", "running", world.commits["code"], airflow="staging")
    spool.append({"kind": "stamp"})
    return world


class TestDrain:
    def test_once_and_again(self, ran: World, call: Call) -> None:
        code, out, err = call("drain")
        assert code == 0
        assert out == "5 stamps, 4 runs settled\n"
        assert "1 record refused" in err
        assert call("drain") == (0, "nothing to drain\n", "")

    def test_as_json(self, ran: World, data: Callable[..., Any]) -> None:
        assert set(data("drain")) == {
            "stamps", "deployments", "rendered", "refused", "torn", "later", "settled",
        }  # fmt: skip

    def test_followed_until_interrupted(self, ran: World) -> None:
        spool = Spool(ran.home / "spool")
        following = subprocess.Popen(
            [sys.executable, "-m", "gitdags.cli.main", "drain", "--follow", "--no-parse"],
            env={"GITDAGS_HOME": str(ran.home), "PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert following.stdout is not None
        with following:
            record = {"kind": "stamp", "dag_id": "followed", "run_id": "r", "source": "scheduler"}
            spool.append(record)
            assert following.stdout.readline() == "1 stamp\n"
            spool.append({**record, "run_id": "r2"})
            assert following.stdout.readline() == "1 stamp\n"
            following.send_signal(signal.SIGINT)
        assert following.returncode == 130


class TestRuns:
    def test_for_people(self, ran: World, call: Call) -> None:
        call("drain")
        code, out, _ = call("runs", "etl")
        assert code == 0
        lines = out.splitlines()
        assert lines[0].split() == ["DAG", "RUN", "STATE", "COMMIT", "SOURCE", "AT"]
        bad = next(n for n, line in enumerate(lines) if " bad " in line)
        assert ran.commits["structure"][:12] in lines[bad]
        assert "conflict" in lines[bad]
        assert "load[4], try 1" in lines[bad + 1]
        assert ran.commits["code"][:12] in lines[bad + 1]
        assert any("unknown repository" in line for line in lines)

    def test_keys(self, ran: World, data: Callable[..., Any]) -> None:
        runs = data("runs", "etl", "--airflow", "prod")
        keys = {
            "airflow",
            "dag_id",
            "run_id",
            "repo",
            "commit",
            "dag_hash",
            "source",
            "stamped_at",
            "tries",
        }
        assert [run["run_id"] for run in runs] == ["gone", "bad", "good"]
        assert all(keys <= run.keys() for run in runs)
        assert {"task_id", "map_index", "try_number", "commit", "state"} <= runs[1]["tries"][
            0
        ].keys()
        assert runs[2]["stamped_at"].endswith("Z")

    def test_at_a_commit(self, ran: World, data: Callable[..., Any]) -> None:
        assert {run["run_id"] for run in data("runs", "--at", "v1")} == {"good"}
        found = data("runs", "--at", ran.commits["code"])
        assert {(run["airflow"], run["run_id"]) for run in found} == {
            ("staging", "good"),
            ("prod", "bad"),
        }

    def test_none(self, ran: World, call: Call) -> None:
        code, out, err = call("runs", "nobody")
        assert (code, out) == (0, "")
        assert "no run of nobody" in err

    def test_usage(self, ran: World, call: Call) -> None:
        assert call("runs", "-n", "-1")[0] == 2


class TestStamp:
    def test_by_hand(self, ran: World, call: Call) -> None:
        words = ("stamp", "late", "mine", "--at", "HEAD", "--airflow", "hand")
        for _ in range(2):
            assert call(*words) == (0, f"late mine ran at {ran.commits['moved'][:12]}\n", "")
        code, _, err = call("stamp", "late", "mine", "--at", "v1", "--airflow", "hand")
        assert code == 1
        assert "name different commits" in err

    def test_no_such_revision(self, ran: World, call: Call) -> None:
        code, _, err = call("stamp", "late", "x", "--at", "nowhere")
        assert code == 3
        assert "hint:" in err


class TestShow:
    def test_the_code_a_run_ran(self, ran: World, call: Call) -> None:
        code, out, _ = call("show", "etl", "--run", "good", "--airflow", "prod", "--code")
        assert code == 0
        assert "'load'" in out
        assert "'store'" in call("show", "etl", "--run", "bad", "--code")[1]

    @pytest.mark.parametrize(
        ("words", "status", "said"),
        [
            (("--run", "good"), 3, "several installations"),
            (("--run", "nope"), 3, "no run"),
            (("--run", "gone"), 3, "no commit"),
            (("--run", "bad", "--executed"), 3, "not kept"),
            (("--executed",), 2, "of a run"),
            (("--run", "bad", "--at", "v1"), 2, "not allowed"),
        ],
    )
    def test_what_cannot_be_shown(
        self, ran: World, call: Call, words: tuple[str, ...], status: int, said: str
    ) -> None:
        code, out, err = call("show", "etl", *words)
        assert (code, out) == (status, "")
        assert said in err


class TestSuspects:
    def test_for_people(self, ran: World, call: Call) -> None:
        code, out, err = call("suspects", "etl", "bad")
        assert code == 0
        assert "last good: good at " + ran.commits["begin"][:12] in err
        # The try failed at `code`, which only changed the helper.
        assert "≈ code" in out
        assert "dags/helper.py" in out
        assert "1 suspect of 1 commit" in err

    def test_keys(self, ran: World, data: Callable[..., Any]) -> None:
        found = data("suspects", "etl", "bad")
        assert found.keys() == {
            "run", "commit", "good", "good_commit", "commits", "missing", "suspects", "undone",
            "environment",
        }  # fmt: skip
        assert found["suspects"][0].keys() >= {
            "commit",
            "author",
            "subject",
            "files",
            "change",
            "diff",
        }

    def test_nothing_to_compare_with(self, ran: World, call: Call) -> None:
        code, _, err = call("suspects", "etl", "good", "--airflow", "prod")
        assert code == 0
        assert "nothing to compare with" in err


def test_a_run_of_any_name(ran: World, call: Call) -> None:
    name = "a b/ü\x1b[31m"
    Spool(ran.home / "spool").append(
        {"kind": "stamp", "dag_id": "odd", "run_id": name, "source": "scheduler"}
    )
    code, out, _ = call("runs", "odd")
    assert code == 0
    assert "\x1b" not in out
    assert json.loads(call("--json", "runs", "odd")[1])[0]["run_id"] == name
