"""Real Airflow, whole: what ran stays known after the branch moved on, was rewritten, and was pruned.

One Airflow runs the same story twice at once, over a mount of gitdags and from plain files without
FUSE. Between the two stands nothing but the bundle's keyword.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitdags.catalog import Catalog
from gitdags.config import Settings
from scripts.airflow_instance import Instance, free_port
from tests.airflow.conftest import bundle_entry, can_mount, mount_at, spooled, unmount
from tests.conftest import Repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN_1, RUN_2 = "run 1 ü+", "run-2"  # with a %, the routes of Airflow's own pages fail
HELPER = 'NAME = "{}"\n'
CODE = """
import os
from airflow.sdk import dag, task
import helper_{repo}

@dag(dag_id="{repo}_etl", schedule=None)
def etl():
    @task(retries=0)
    def extract():
        print("RAN", os.path.realpath(__file__), helper_{repo}.NAME, "{body}")
        return helper_{repo}.NAME

    @task
    def load(name):
        print("LOADED", name)

    load(extract())

etl()
"""


@dataclass
class Story:
    """One repository through all of it; ``C``: its commits, ``airflow``: what Airflow said of run 1."""

    name: str
    bare: Path
    work: Repo
    C: dict[int, str] = field(default_factory=dict)
    airflow: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)

    @property
    def dag_id(self) -> str:
        return f"{self.name}_etl"

    def push(self, number: int, files: dict[str, str | None]) -> None:
        self.C[number] = self.work.commit(files, f"C{number}")
        self.work("push", "-q", "origin", "HEAD:main")

    def code(self, body: str) -> str:
        return CODE.format(repo=self.name, body=body)

    @property
    def helper(self) -> str:
        return f"dags/helper_{self.name}.py"


@dataclass
class World:
    """The two stories, told; and the Airflow that they were told in."""

    airflow: Instance
    settings: Settings
    stories: dict[str, Story]
    pages: str
    """where gitdags' own are"""
    plugins: Any
    spool: list[dict[str, Any]]


def _story(folder: Path, name: str) -> Story:
    bare = folder / f"{name}.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
    work = Repo(folder / name)
    work("remote", "add", "origin", str(bare))
    return Story(name, bare, work)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, airflow_database: Path) -> Iterator[World]:
    reason = can_mount()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("whole")
    home, mnt = folder / "home", folder / "mnt"
    stories = {name: _story(folder, name) for name in ("mounted", "exported")}
    settings = Settings({"home": str(home), "jobs": "2"}, {}, None, None)
    for story in stories.values():
        story.push(
            1, {"dags/etl.py": story.code("old body"), story.helper: HELPER.format("helper of C1")}
        )
        with Catalog(settings) as catalog:
            catalog.registry.add(str(story.bare), name=story.name)
    bundles = [
        bundle_entry("b-mounted", repo="mounted", ref="main", mount=str(mnt)),
        bundle_entry("b-exported", repo="exported", ref="main", export=str(folder / "depot")),
    ]
    env = {
        "GITDAGS_HOME": str(home),
        "GITDAGS_AIRFLOW_NAME": "prod",
        "GITDAGS_IMAGE": "sha256:feed",
        "GITDAGS_RENDERED": "true",
        "GITDAGS_WEB_URL": (pages := f"http://127.0.0.1:{free_port()}"),
    }
    mount_at(mnt, folder / "mnt.log", mounted=stories["mounted"].bare)
    try:
        with Instance(folder / "instance", bundles, env=env, template=airflow_database) as airflow:
            airflow.start()
            told = _tell(airflow, settings, home, stories)
            with _serving(airflow, pages):
                yield World(airflow, settings, stories, pages, *told)
    finally:
        unmount(mnt)


def _tell(
    airflow: Instance, settings: Settings, home: Path, stories: dict[str, Story]
) -> tuple[Any, list[dict[str, Any]]]:
    """The story itself, from the first run to the prune."""
    told = list(stories.values())

    def parsed(story: Story, number: int) -> bool:
        status, dag = airflow.api(f"dags/{story.dag_id}", ok=False)
        if status != 200 or dag["bundle_version"] != story.C[number]:
            return False
        versions = airflow.api(f"dags/{story.dag_id}/dagVersions")["dag_versions"]
        return bool(versions[-1]["bundle_version"] == story.C[number])

    def reach(number: int) -> None:
        for story in told:
            airflow.wait(lambda s=story: parsed(s, number), f"{story.name} is parsed at C{number}")

    def run(run_id: str) -> None:
        for story in told:
            airflow.trigger(story.dag_id, run_id)
        for story in told:
            airflow.finish(story.dag_id, run_id)
            story.logs[run_id] = airflow.task_logs(story.dag_id, run_id)

    reach(1)
    run(RUN_1)
    for story in told:  # a function's body and a helper; the structure stays
        story.push(
            2, {"dags/etl.py": story.code("new body"), story.helper: HELPER.format("helper of C2")}
        )
    reach(2)
    run(RUN_2)
    for story in told:
        story.push(3, {"dags/etl.py": None, "dags/jobs/renamed.py": story.code("new body")})
    reach(3)
    for story in told:
        airflow.api(
            f"dags/{story.dag_id}/dagRuns/{_quoted(RUN_1)}/clear",
            {"dry_run": False, "run_on_latest_version": True},
        )
    for story in told:
        airflow.finish(story.dag_id, RUN_1)
        story.logs["cleared"] = airflow.task_logs(story.dag_id, RUN_1)
    spool = spooled(home)
    with Catalog(settings) as catalog:  # what `gitdags drain --follow` does all the while
        catalog.drain()
        catalog.settle()
    for story in told:
        work = story.work
        work("checkout", "-q", "--orphan", "again")
        story.C[4] = work.commit({"readme": "history begins anew"}, "C4")
        work("push", "-q", "--force", "origin", "again:main")
        subprocess.run(["git", "-C", story.bare, "gc", "-q", "--prune=now"], check=True)
        left = subprocess.run(
            ["git", "-C", story.bare, "for-each-ref", "--contains", story.C[1], "--format=%(refname)"],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        assert [ref for ref in left if not ref.startswith("refs/gitdags/")] == []
    reach(4)
    for story in told:
        tries = airflow.api(
            f"dags/{story.dag_id}/dagRuns/{_quoted(RUN_1)}/taskInstances/extract/tries"
        )["task_instances"]
        run_1 = airflow.dag_run(story.dag_id, RUN_1)
        versions = airflow.api(f"dags/{story.dag_id}/dagVersions")["dag_versions"]
        number = run_1["dag_versions"][-1]["version_number"]
        source = airflow.api(f"dagSources/{story.dag_id}?version_number={number}")["content"]
        story.airflow = {
            "run": run_1, "versions": versions, "source": source, "tries": tries,
        }  # fmt: skip
    return airflow.api("plugins"), spool


@contextlib.contextmanager
def _serving(airflow: Instance, url: str) -> Iterator[None]:
    """gitdags' pages, which Airflow's may show in a frame."""
    port = url.rpartition(":")[2]
    server = subprocess.Popen(
        [sys.executable, "-m", "gitdags.cli.main", "-q", "serve", "--port", port],
        env={**airflow.env, "GITDAGS_WEB_FRAMES": airflow.url}, cwd=airflow.folder,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        assert server.stdout.readline().startswith(url)
        yield
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


NAMES = ("mounted", "exported")


@pytest.fixture(params=NAMES)
def story(world: World, request: pytest.FixtureRequest) -> Story:
    return world.stories[str(request.param)]


@pytest.fixture
def catalog(world: World) -> Iterator[Catalog]:
    with Catalog(world.settings) as catalog:
        yield catalog


def test_a_run_shows_the_commit_of_each_try(story: Story, catalog: Catalog) -> None:
    run = catalog.run(story.dag_id, RUN_1)
    assert (run.airflow, run.repo, run.commit, run.source) == (
        "prod", story.name, story.C[1], "scheduler",
    )  # fmt: skip
    assert (run.state, run.conflict, run.moved_to) == ("success", False, (story.C[3],))
    assert [
        (t.task_id, t.try_number, t.commit, t.state, t.source, t.conflict) for t in run.tries
    ] == [
        (task, number, story.C[commit], "success", "worker", False)
        for number, commit in ((1, 1), (2, 3))
        for task in ("extract", "load")
    ]
    assert [t.ti_id is not None for t in run.tries] == [True] * 4
    second = catalog.run(story.dag_id, RUN_2)
    assert (second.commit, {t.commit for t in second.tries}) == (story.C[2], {story.C[2]})


def test_its_code_helper_and_graph_are_those_of_its_commit(story: Story, catalog: Catalog) -> None:
    repo = catalog.repository(story.name)
    run = catalog.run(story.dag_id, RUN_1)
    assert run.commit is not None
    assert catalog.source(repo, "dags/etl.py", run.commit).decode() == story.code("old body")
    assert catalog.source(repo, story.helper, run.commit) == b'NAME = "helper of C1"\n'
    shown = catalog.document(repo, story.dag_id, run.commit)
    assert shown.document["edges"] == [["extract", "load", None]]
    assert shown.row.dag_hash == run.dag_hash
    last = run.tries[-1].commit
    assert last == story.C[3]
    assert catalog.source(repo, "dags/jobs/renamed.py", last).decode() == story.code("new body")
    assert catalog.document(repo, story.dag_id, last).row.file == "dags/jobs/renamed.py"
    at_2 = catalog.run(story.dag_id, RUN_2)
    assert at_2.commit is not None
    assert catalog.source(repo, "dags/etl.py", at_2.commit).decode() == story.code("new body")


def test_the_tasks_really_ran_from_their_commits(story: Story) -> None:
    def ran(log: str) -> list[tuple[str, str]]:
        return sorted(set(re.findall(r"RAN \S+/([0-9a-f]{40})/\S+ (helper of C\d)", log)))

    assert ran(story.logs[RUN_1]) == [(story.C[1], "helper of C1")]
    assert ran(story.logs[RUN_2]) == [(story.C[2], "helper of C2")]
    assert ran(story.logs["cleared"]) == sorted(
        [(story.C[1], "helper of C1"), (story.C[3], "helper of C2")]
    )


def test_what_the_tries_ran_with(story: Story, catalog: Catalog) -> None:
    runtimes = {t.runtime for t in catalog.run(story.dag_id, RUN_1).tries}
    assert len(runtimes) == 1
    runtime = runtimes.pop()
    assert runtime.airflow.startswith("3.3")
    assert (runtime.image, len(runtime.packages)) == ("sha256:feed", 64)
    fields = catalog.rendered(catalog.run(story.dag_id, RUN_1))
    assert fields[("load", -1, 1)]["op_args"] != fields[("load", -1, 2)]["op_args"]


def test_every_move_is_a_deployment(story: Story, catalog: Catalog) -> None:
    catalog.drain()
    moves = catalog.deployments(catalog.repository(story.name), "refs/heads/main")
    assert [(m.old, m.new, m.source) for m in moves[::-1]] == [
        (None, story.C[1], "airflow"), (story.C[1], story.C[2], "airflow"),
        (story.C[2], story.C[3], "airflow"), (story.C[3], story.C[4], "airflow"),
    ]  # fmt: skip


def test_what_airflow_itself_says_of_run_1(
    story: Story, catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    """No complaint about Airflow: the reason for gitdags. Printed, so that one sees it."""
    run, airflow = catalog.run(story.dag_id, RUN_1), story.airflow
    says = airflow["run"]["bundle_version"]
    tries = [(t["try_number"], t["dag_version"]["bundle_version"]) for t in airflow["tries"]]
    lines = [
        f"{story.name}: extract of run 1 ran at C1 {story.C[1][:12]}, again at C3 {story.C[3][:12]}",
        f"  Airflow says: run at {says[:12]}, extract " + _told(tries),
        f"                its code has {_body(airflow['source'])}",
        f"  gitdags says: run at {(run.commit or '?')[:12]}, extract "
        + _told([(t.try_number, t.commit) for t in run.tries if t.task_id == "extract"]),
    ]
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert says == story.C[3]
    # The commit of the first try is nowhere in Airflow any more, and neither is its code.
    assert story.C[1] not in json.dumps(airflow)
    assert "old body" not in airflow["source"]


def _told(tries: list[tuple[int, str | None]]) -> str:
    return ", ".join(f"try {number} at {(commit or '?')[:12]}" for number, commit in tries)


def _body(source: str) -> str:
    found = re.search(r'"(old|new) body"', source)
    return found[0] if found else "?"


def test_pages_of_airflow_lead_to_gitdags(world: World) -> None:
    plugin = next(p for p in world.plugins["plugins"] if p["name"] == "gitdags")
    assert [view["destination"] for view in plugin["external_views"]] == [
        "dag", "dag_run", "task_instance",
    ]  # fmt: skip
    assert plugin["external_views"][1]["href"] == (
        world.pages + "/find?airflow=prod&dag_id={DAG_ID}&run_id={RUN_ID}"
    )
    story = world.stories["mounted"]
    version = story.airflow["run"]["dag_versions"][-1]
    assert version["bundle_url"] == f"{world.pages}/mounted?at={version['bundle_version']}"


def test_the_tabs_on_airflows_pages_show_gitdags_pages(world: World) -> None:
    """In a real browser: the tab called Git of a DAG, a run and a task instance."""
    story = world.stories["mounted"]
    from playwright.sync_api import expect, sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    run = f"dags/{story.dag_id}/runs/{_quoted(RUN_1)}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        for place, leads_to, shows in (
            (f"dags/{story.dag_id}", f"/{story.name}/dags/{story.dag_id}", story.dag_id),
            (run, f"/{story.name}/runs/{story.dag_id}/", story.C[1][:12]),
            (f"{run}/tasks/extract", f"/{story.name}/runs/{story.dag_id}/", story.C[1][:12]),
        ):
            page.goto(f"{world.airflow.url}/{place}")
            page.get_by_role("link", name="Git", exact=True).click()
            frame = page.frame_locator("iframe[title='Git']")
            expect(frame.locator("body")).to_contain_text(shows)
            inner = page.frames[-1].url
            assert inner.startswith(world.pages + leads_to), inner
        browser.close()


def test_scheduler_and_worker_say_the_same(story: Story, world: World) -> None:
    of_run = [r for r in world.spool if r.get("run_id") == RUN_1 and r["dag_id"] == story.dag_id]
    stamps = [r for r in of_run if r["kind"] == "stamp"]
    assert [(r["source"], r["state"], r["commit"]) for r in stamps if "task_id" not in r] == [
        ("scheduler", state, story.C[c])
        for state, c in (("running", 1), ("success", 1), ("running", 3), ("success", 3))
    ]
    assert {r["repo"] for r in stamps} == {story.name}
    assert {os.path.basename(r["path"]) for r in stamps if "task_id" in r} == {
        "etl.py", "renamed.py",
    }  # fmt: skip


def test_no_code_ran_for_a_state_that_a_person_set(world: World, catalog: Catalog) -> None:
    """Marked by hand through the API: the API server calls the listener, with rows and no bundle."""
    story, airflow = world.stories["exported"], world.airflow
    run = f"dags/{story.dag_id}/dagRuns/{RUN_2}"
    airflow.api(f"{run}/taskInstances/load", {"new_state": "failed"}, method="PATCH")
    airflow.api(run, {"state": "failed"}, method="PATCH")

    def failed() -> bool:
        catalog.drain()
        found = catalog.run(story.dag_id, RUN_2)
        return found.state == "failed" and found.tries[-1].state == "failed"

    airflow.wait(failed, "the states are known")
    found = catalog.run(story.dag_id, RUN_2)
    assert (found.commit, found.conflict) == (story.C[2], False)
    assert [(t.task_id, t.try_number, t.commit, t.conflict) for t in found.tries] == [
        ("extract", 1, story.C[2], False), ("load", 1, story.C[2], False),
    ]  # fmt: skip
    assert time.time() - found.stamped_at.timestamp() < 3600


# ── gitdags run ───────────────────────────────────────────────────────────────────────────


def gitdags_run(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gitdags.cli.main", "-r", "mounted", "run", "mounted_etl", *words],
        env=world.airflow.env, cwd=world.airflow.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_run_is_started_at_a_commit_that_no_branch_has(world: World, catalog: Catalog) -> None:
    story = world.stories["mounted"]
    done = gitdags_run(world, "--at", story.C[3], "--unsupported", "--run-id", "pinned")
    assert (done.returncode, done.stdout) == (
        0, f"mounted_etl pinned: queued, pinned to {story.C[3][:12]}\n",
    ), done.stderr  # fmt: skip
    assert "Airflow does not support" in done.stderr
    assert world.airflow.finish("mounted_etl", "pinned")["bundle_version"] == story.C[3]
    assert f"/{story.C[3]}/dags/jobs/renamed.py" in world.airflow.task_logs("mounted_etl", "pinned")
    catalog.drain()
    run = catalog.run("mounted_etl", "pinned")
    assert (run.commit, run.source, run.conflict) == (story.C[3], "scheduler", False)
    again = gitdags_run(world, "--at", story.C[3], "--unsupported", "--run-id", "pinned")
    assert (again.returncode, "has a run 'pinned' already" in again.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--at", "{C1}", "--unsupported"], 3, "Airflow would look for jobs/renamed.py, but at "),
        (["--at", "{C3}", "--airflow-api", "{url}"], 3, "takes no bundle version for a new run"),
        (["--at", "{C3}", "--airflow-api", "http://127.0.0.1:1"], 3, "cannot be reached"),
        (["--at", "{C3}"], 2, "which Airflow?"),
        (["--at", "{C3}", "--unsupported", "--conf", "[1]"], 2, "no JSON object"),
        (["--at", "nowhere", "--unsupported"], 3, "nowhere"),
    ],
)  # fmt: skip
def test_runs_that_cannot_be_started(world: World, words: list[str], code: int, says: str) -> None:
    C = world.stories["mounted"].C
    values = {"{C1}": C[1], "{C3}": C[3], "{url}": world.airflow.url}
    done = gitdags_run(world, *(values.get(word, word) for word in words))
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_was_written_into_the_trees(world: World) -> None:
    depot = world.airflow.folder.parent / "depot"
    assert list(depot.glob("trees/**/__pycache__")) == []
    assert not re.search(
        r"gitdags.*(Traceback|ERROR|error )", world.airflow.log("scheduler").read_text()
    )
