"""Every command on one small history: what it prints, and the keys of its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gitdags.serialize import document
from tests.cli.conftest import Call, World

Data = Callable[..., Any]


class TestLs:
    def test_keys_and_values(self, world: World, data: Data) -> None:
        found = data("ls", "--at", "v1")
        assert (found["repo"], found["commit"]) == ("sales", world.commits["begin"])
        assert [d["dag_id"] for d in found["dags"]] == ["etl", "other"]
        etl = found["dags"][0]
        assert set(etl) == {
            "dag_id", "file", "dag_hash", "code_hash", "tasks", "engine", "environment",
        }  # fmt: skip
        assert (etl["file"], etl["tasks"], etl["engine"]) == ("dags/etl.py", 2, "airflow")
        assert found["errors"] == []

    def test_a_failing_file_names_the_dags_it_had(self, world: World, data: Data) -> None:
        found = data("ls", "--at", world.commits["broken"])
        assert found["errors"] == [
            {
                "file": "dags/etl.py",
                "type": "ValueError",
                "message": "no <b>way</b>",
                "dag_ids": ["etl"],
            }
        ]

    def test_for_people(self, world: World, call: Call) -> None:
        code, out, err = call("ls", "--at", world.commits["broken"])
        assert code == 0
        assert re.search(r"^other +1 +[0-9a-f]{12} +dags/other\.py$", out, re.M)
        assert "dags/etl.py\n    ValueError: no <b>way</b>\n    was: etl\n" in out
        assert "oops" in err
        assert not any(line.endswith(" ") for line in out.splitlines())

    def test_what_is_not_indexed_is_not_parsed_when_told_so(self, world: World, call: Call) -> None:
        sha = world.repo("commit-tree", "HEAD^{tree}", "-m", "loose")
        code, out, err = call("ls", "--at", sha, "--no-parse")
        assert (code, out) == (3, "")
        assert f"hint: gitdags index {sha}" in err


class TestShow:
    def test_the_document_is_what_was_hashed(self, data: Data) -> None:
        found = data("show", "etl", "--at", "v1")
        row = {"file", "engine", "environment", "guesses", "placeholders"}
        fields = {k: v for k, v in found.items() if k not in row}
        listed = data("ls", "--at", "v1")["dags"][0]
        assert document.digest(document.canonical(fields)) == listed["dag_hash"]
        assert set(fields) >= set(
            [
                "schema",
                "dag_id",
                "description",
                "doc_md",
                "schedule",
                "start_date",
                "end_date",
                "timezone",
                "catchup",
                "max_active_runs",
                "tags",
                "owners",
                "params",
                "default_args",
                "tasks",
                "groups",
                "edges",
            ]
        )
        assert set(found["tasks"][0]) == set(
            [
                "task_id",
                "operator",
                "module",
                "group",
                "trigger_rule",
                "upstream",
                "downstream",
                "mapped",
                "template_fields",
                "templated",
                "attrs",
                "callbacks",
                "ui_color",
                "ui_fgcolor",
                "doc_md",
            ]
        )
        assert found["edges"] == [["extract", "load", None]]

    def test_the_last_good_one_where_it_fails(self, world: World, call: Call) -> None:
        code, out, err = call("--json", "show", "etl", "--at", world.commits["broken"])
        found = json.loads(out)
        assert (code, found["stale_from"]) == (0, world.commits["structure"])
        assert [t["task_id"] for t in found["tasks"]] == ["extract", "store"]
        assert "warning: etl fails at" in err

    def test_code_summary_and_graph(self, call: Call) -> None:
        assert call("show", "etl", "--at", "v1", "--code")[1].startswith(
            "from airflow.sdk import DAG"
        )
        _, out, _ = call("show", "etl", "--at", "v1")
        assert "2 tasks, 1 edge" in out
        _, out, _ = call("show", "etl", "--graph")
        assert out.splitlines() == ["●  extract  EmptyOperator", "●  load  EmptyOperator"]

    def test_include_and_exclude_change_what_is_shown_only(self, data: Data) -> None:
        found = data("-c", "include=dag_id,edges", "show", "etl")
        assert {"dag_id", "edges", "file"} <= set(found)
        assert "tasks" not in found
        assert "tasks" not in data("-c", "exclude=tasks", "show", "etl")
        plain = data("-c", "json_library=json", "show", "etl")
        assert plain == data("-c", "json_library=orjson", "show", "etl")

    def test_no_such_dag_suggests_one(self, world: World, call: Call) -> None:
        code, _, err = call("show", "elt", "--at", "v1")
        assert code == 3
        assert "hint: gitdags show etl --at v1" in err
        code, _, err = call("show", "other")
        assert code == 3
        assert f"it last was in {world.commits['broken'][:12]}" in err


class TestLog:
    def test_the_words_of_the_contract(self, world: World, data: Data) -> None:
        found = data("log", "etl")
        names = {sha: name for name, sha in world.commits.items()}
        assert [(names[v["commit"]], v["change"]) for v in found] == [
            ("moved", "fixed"), ("broken", "failed"), ("structure", "structure"),
            ("code", "code"), ("begin", "added"),
        ]  # fmt: skip
        assert set(found[0]) == {
            "commit", "committed_at", "author", "subject", "change", "dag_id", "dag_hash", "code_hash",
            "engine",
        }  # fmt: skip
        assert found[-1]["committed_at"] == "2025-01-01T12:00:00Z"

    def test_all_dags_and_a_limit(self, data: Data, call: Call) -> None:
        assert [(v["dag_id"], v["change"]) for v in data("log")][-2:] == [
            ("etl", "added"), ("other", "added"),
        ]  # fmt: skip
        assert len({v["commit"] for v in data("log", "-n", "2")}) == 2
        assert len(data("log", "-n", "2")) == 4  # a commit is shown whole
        _, out, _ = call("log")
        assert "move, mend and replace" in out
        assert "- 1 removed" in out

    def test_a_dag_never_seen(self, call: Call) -> None:
        code, _, err = call("log", "etll")
        assert code == 3
        assert "hint: gitdags log etl" in err


class TestBlame:
    def test_tasks_and_edges(self, world: World, data: Data) -> None:
        found = data("blame", "etl", "--at", world.commits["structure"])
        subjects = {tuple(f.get("edge") or [f["task_id"]]): f["added"]["subject"] for f in found}
        assert subjects == {
            ("extract",): "the beginning",
            ("store",): "store instead of load",
            ("extract", "store"): "store instead of load",
        }

    def test_for_people(self, world: World, call: Call) -> None:
        _, out, _ = call("blame", "etl", "--at", world.commits["structure"])
        assert out.startswith(world.commits["structure"][:12])
        assert "    + store\n" in out
        assert "    + extract → store\n" in out


class TestDiff:
    def test_keys_and_values(self, world: World, data: Data) -> None:
        found = data("diff", "v1", world.commits["structure"])
        assert (found["from"], found["to"]) == (world.commits["begin"], world.commits["structure"])
        (etl,) = found["changed"]
        assert etl["dag_id"] == "etl"
        assert etl["code_only"] is False
        assert etl["tasks_added"] == ["store"]
        assert etl["tasks_removed"] == ["load"]
        assert etl["edges_added"] == [["extract", "store"]]
        assert etl["attributes"]["tags"] == [[], ["x"]]
        assert etl["attributes"]["schedule"][1] == {"type": "cron", "value": "0 0 * * *"}
        assert set(found) >= {"from", "to", "added", "removed", "failed", "changed"}

    def test_only_a_helper_changed(self, world: World, data: Data) -> None:
        (etl,) = data("diff", "v1", world.commits["code"])["changed"]
        assert etl["code_only"] is True
        assert etl["files_changed"] == ["dags/helper.py"]

    def test_failing_is_not_removed_and_moving_is_not_either(
        self, world: World, data: Data
    ) -> None:
        assert data("diff", "v1", world.commits["broken"])["failed"] == ["etl"]
        found = data("diff", world.commits["code"], world.commits["moved"])
        assert (found["added"], found["removed"]) == (["late"], ["other"])
        assert found["changed"][0]["attributes"] == {"file": ["dags/etl.py", "dags/jobs/etl.py"]}

    def test_for_people_and_exit_codes(self, world: World, call: Call) -> None:
        code, out, err = call("diff", "v1", world.commits["structure"])
        assert code == 0
        assert "~ etl" in out
        assert "+ task store" in out
        assert "- edge extract → load" in out
        assert "1 changed" in err
        assert call("diff", "v1", world.commits["structure"], "--exit-code")[0] == 1
        assert call("diff", "v1", "v1", "--exit-code")[:2] == (0, "")
        _, out, _ = call("diff", "v1", world.commits["structure"], "--stat")
        assert out == "~ etl  (tasks +1 -1; edges +1 -1; 2 attributes)\n"


class TestIndex:
    def test_again_parses_nothing_and_says_so(self, data: Data, call: Call) -> None:
        found = data("index", "--all")
        assert set(found) == {
            "commits", "parsed", "reused", "documents_new", "errors", "recorded", "seconds",
            "skipped", "warnings",
        }  # fmt: skip
        assert (found["commits"], found["parsed"], found["documents_new"]) == (5, 0, 0)
        assert call("index", "--all")[1] == "nothing to parse: 5 commits, all indexed\n"
        assert data("index", "v1..HEAD")["commits"] == 4

    def test_an_interval_between_updates_of_a_moving_ref(self, world: World, call: Call) -> None:
        words = ("-c", "min_update_interval=3600", "index", "loose")
        tree = world.repo("rev-parse", "HEAD^{tree}")
        world.repo("update-ref", "refs/heads/loose", world.repo("commit-tree", tree, "-m", "1"))
        assert call(*words)[0] == 0
        world.repo("update-ref", "refs/heads/loose", world.repo("commit-tree", tree, "-m", "2"))
        code, _, err = call(*words)
        world.repo("update-ref", "-d", "refs/heads/loose")
        assert code == 3
        assert "min_update_interval" in err

    def test_usage(self, call: Call) -> None:
        assert call("index", "--all", "HEAD")[0] == 2


class TestCheck:
    def test_a_good_commit(self, call: Call) -> None:
        code, out, _ = call("check", "v1")
        assert code == 0
        assert "2 DAGs in 2 files: all import, are stable and within the budget" in out

    def test_a_broken_one_in_every_format(self, world: World, call: Call) -> None:
        target = f"{world.commits['structure']}..{world.commits['broken']}"
        code, out, _ = call("check", target)
        assert code == 1
        assert re.search(
            r"^dags/etl\.py:\d+: does not import: ValueError: no <b>way</b>", out, re.M
        )
        assert "! etl fails to import" in out
        _, out, _ = call("check", target, "--format", "github")
        assert re.match(
            r"::error file=dags/etl\.py,line=\d+,title=gitdags%3A does not import::", out
        )
        assert "%0A" in out
        _, out, _ = call("check", target, "--format", "markdown")
        assert "no &lt;b&gt;way&lt;/b&gt;" in out
        assert "~~~diff\n! etl fails to import" in out
        _, out, _ = call("check", target, "--format", "junit")
        suite = ElementTree.fromstring(out)
        assert suite.get("failures") == "1"
        assert [failure.get("type") for failure in suite.iter("failure")] == ["import"]
        code, out, _ = call("--json", "check", target)
        assert json.loads(out)["findings"][0]["kind"] == "import"

    def test_what_was_broken_before_is_not_held_against_a_change(
        self, world: World, call: Call
    ) -> None:
        assert call("check", f"{world.commits['broken']}..{world.commits['broken']}")[0] == 0

    def test_the_budget(self, call: Call) -> None:
        code, out, _ = call("-c", "size_budget=100", "check", "v1")
        assert code == 1
        assert "the budget is 100 (size_budget)" in out


class TestExport:
    def test_a_new_folder(self, world: World, call: Call, tmp_path: Path) -> None:
        code, out, _ = call("export", "v1", str(tmp_path / "out"))
        assert (code, out) == (0, f"{world.commits['begin'][:12]}: 3 files in {tmp_path / 'out'}\n")
        assert (tmp_path / "out" / "dags" / "helper.py").read_text().startswith("NAME = 'a'")

    def test_not_over_something(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        code, _, err = call("export", "v1", str(tmp_path))
        assert code == 3
        assert "is not empty" in err
        assert [p.name for p in tmp_path.iterdir()] == ["file"]


class TestUpkeep:
    def test_repos(self, world: World, data: Data) -> None:
        (found,) = data("repos")
        assert (found["name"], found["path"]) == ("sales", str(world.repo.path))

    def test_db(self, data: Data, call: Call) -> None:
        found = data("db", "current")
        assert found["revision"] == found["wanted"]
        assert call("db", "upgrade")[0] == 0

    def test_doctor(self, call: Call) -> None:
        code, out, _ = call("--json", "doctor")
        states = {d["subject"]: d["state"] for d in json.loads(out)}
        assert states["airflow"] == states["store"] == states["sales"] == "ok"
        # Somebody else's dead mount on this machine is a fault too.
        assert code == int("fault" in states.values())
        assert "sales" in call("doctor")[1]

    def test_config(self, data: Data) -> None:
        found = {s["name"]: s for s in data("config")}
        assert found["home"]["source"] == "environment"
        assert found["size_budget"] == {
            "name": "size_budget",
            "value": "1M",
            "source": "default",
            "env": "GITDAGS_SIZE_BUDGET",
            "help": found["size_budget"]["help"],
        }

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion(self, call: Call, shell: str) -> None:
        code, out, _ = call("completion", shell)
        assert code == 0
        assert "gitdags" in out
