"""The demo: a walk through every capability, as commands a person could type; `--check` verifies it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

from airflow_instance import Instance

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitdags"
GITDAGS = str(Path(sys.executable).with_name("gitdags"))


class Demo:
    """Runs commands as a person would, shows them and their first lines, and counts what is wrong."""

    def __init__(self, home: Path, *, check: bool) -> None:
        self.check = check
        self.wrong: list[str] = []
        self.environ = {**os.environ, "GITDAGS_HOME": str(home)}

    def say(self, text: str) -> None:
        """A line between the steps."""
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)

    def run(self, *words: str, lines: int = 12, expect: int = 0) -> str:
        """Run gitdags, show the command and the first lines it prints; its output."""
        print(f"\n$ gitdags {shlex.join(words)}", flush=True)
        done = subprocess.run(
            [GITDAGS, *words], capture_output=True, text=True, env=self.environ, check=False
        )
        output = done.stdout.splitlines()
        for line in [*done.stderr.splitlines()[:4], *output[:lines]]:
            print(f"  {line[:150]}")
        if len(output) > lines:
            print(f"  … {len(output) - lines} more lines")
        self.verify(done.returncode == expect, f"{shlex.join(words)} exits {done.returncode}")
        return done.stdout

    def json(self, *words: str) -> object:
        """Run gitdags for its JSON, without showing it."""
        done = subprocess.run(
            [GITDAGS, "--json", *words],
            capture_output=True,
            text=True,
            env=self.environ,
            check=False,
        )
        return json.loads(done.stdout)

    def verify(self, right: bool, what: str) -> None:
        """With --check, note what is wrong."""
        if self.check and not right:
            self.wrong.append(what)
            print(f"  WRONG: {what}")


def main(argv: Sequence[str]) -> int:
    """Walk through the steps; 1 where --check found something wrong."""
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("where", nargs="?", metavar="PATH_OR_URL")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="gitdags-demo-") as folder:
        home = Path(folder) if args.check else CACHE / "demo"
        demo = Demo(home, check=args.check)
        if args.where:
            own(demo, args.where)
        else:
            for step in STEPS:
                step(demo)
        if args.check:
            print(f"\n{len(demo.wrong)} wrong" if demo.wrong else "\nall right")
            return 1 if demo.wrong else 0
        demo.say("Now it is yours:")
        print(f"  export GITDAGS_HOME={home} PATH={Path(GITDAGS).parent}:$PATH")
        print("  gitdags log        gitdags show tutorial --graph        gitdags diff 2.10.5 3.3.2")
        pages(demo, "yours" if args.where else COMPARISON, stay=True)
    return 0


def own(demo: Demo, where: str) -> None:
    """The main job on somebody's own repository."""
    demo.say(f"Your repository: {where}")
    demo.run("init", where, "--name", "yours")
    demo.run("-r", "yours", "index", "HEAD")
    demo.run("-r", "yours", "ls", lines=40)
    demo.run("-r", "yours", "log", lines=30)


def history(demo: Demo) -> None:
    """Build the real history and index all of it."""
    demo.say("A real history: the example DAGs of 17 Airflow releases, one commit each")
    repo = CACHE / "history"
    if not (repo / ".git").exists():
        subprocess.run([sys.executable, HERE / "airflow-history", repo], check=True)
    demo.run("init", str(repo), "--name", "examples")
    demo.run("index", "--all")
    again = demo.json("index", "--all")
    demo.verify(again["commits"] == 17, f"17 commits, not {again['commits']}")
    demo.verify(again["parsed"] == 0, f"indexing again parses nothing, not {again['parsed']}")


def at_a_commit(demo: Demo) -> None:
    """The DAGs of one release; one of them."""
    demo.say("The DAGs at any commit, tag or date")
    demo.run("ls", "--at", "3.3.2", lines=8)
    listing = demo.json("ls", "--at", "3.3.2")
    read = [dag for dag in listing["dags"] if dag["engine"] == "airflow"]
    demo.verify(len(read) == 88, f"Airflow reads 88 DAGs at 3.3.2, not {len(read)}")
    demo.verify(
        len(listing["dags"]) == 90, f"two more are recorded, not {len(listing['dags']) - 88}"
    )
    failing = {error["file"]: error for error in listing["errors"]}
    demo.verify(
        set(failing) == {"dags/example_custom_weight.py", "dags/example_workday_timetable.py"},
        f"two examples want a plugin, found {sorted(failing)}",
    )
    demo.run("ls", "--at", "main@{2024-01-01}", lines=6)
    old = demo.json("ls", "--at", "main@{2024-01-01}")
    demo.verify(old["commit"] == demo.json("ls", "--at", "2.7.3")["commit"], "2.7.3 ruled that day")
    demo.say("One DAG: a summary, a drawing, its code, its document")
    demo.run("show", "example_task_group", "--graph", lines=20)
    demo.run("show", "tutorial", "--at", "2.10.5", "--code", lines=6)
    document = demo.json("show", "tutorial")
    demo.verify(document["schema"] == "gitdags/dag@1", "the document's schema")
    edges = [edge[:2] for edge in document["edges"]]
    demo.verify(
        edges == [["print_date", "sleep"], ["print_date", "templated"]],
        f"tutorial's edges: {edges}",
    )


def through_history(demo: Demo) -> None:
    """Log, blame, diff."""
    demo.say("Through history: what changed when, and who brought it")
    demo.run("log", "tutorial")
    versions = [version["change"] for version in demo.json("log", "tutorial")]
    demo.verify(versions[-1] == "added", f"tutorial was added first, not {versions[-1:]}")
    demo.verify(set(versions) <= {"added", "structure", "code", "moved"}, f"changes: {versions}")
    demo.run("blame", "tutorial")
    demo.say("Two releases compared")
    demo.run("diff", "2.10.5", "3.3.2", "tutorial")
    found = demo.json("diff", "3.2.2", "3.3.2")
    demo.verify("example_retry_policy" in found["added"], "example_retry_policy came with 3.3.2")
    demo.verify(
        "example_bash_operator" in found["removed"], "example_bash_operator went with 3.3.2"
    )


def across_eras(demo: Demo) -> None:
    """One DAG from Airflow 1.10.15 to 3.3.2, in one log, though no single Airflow imports it all."""
    demo.say("Across eras: what Airflow 3 cannot import is recorded without Airflow")
    demo.run("show", "example_bash_operator", "--at", "1.10.15", "--graph", lines=12)
    demo.run("log", "example_bash_operator", lines=20)
    log = demo.json("log", "example_bash_operator")
    demo.verify(log[-1]["subject"] == "airflow 1.10.15", f"it began with {log[-1]['subject']}")
    demo.verify((log[0]["subject"], log[0]["change"]) == ("airflow 3.3.2", "removed"), "its end")
    engines = {version["engine"] for version in log}
    demo.verify(engines == {"airflow", "recorder"}, f"both engines tell it, not {engines}")
    log = demo.json("log", "tutorial")
    demo.verify(
        [version["change"] for version in log].count("added") == 1, "tutorial was added once"
    )
    demo.run("diff", "1.10.15", "3.3.2", "tutorial", lines=14)


def for_ci(demo: Demo) -> None:
    """Check, export."""
    demo.say("For CI: does a change import, is it stable, within the budget, without clashes?")
    demo.run("check", "3.2.2..3.3.2", lines=4)
    demo.run("check", "2.8.4", "--format", "github", lines=2, expect=1)
    demo.say("And without FUSE, any commit as plain files")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "dags-of-2.10.5")
        demo.run("export", "2.10.5", str(target))
        demo.verify((target / "dags" / "tutorial.py").exists(), "tutorial.py was exported")


def as_folders(demo: Demo) -> None:
    """Mount, and read one DAG's file at three releases side by side."""
    demo.say("Every ref as a folder: no checkout, no clone per version")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("  left out: there is no /dev/fuse here that this user may open")
        return
    with tempfile.TemporaryDirectory(prefix="gitdags-demo-mount-") as place:
        demo.run("mount", place)
        try:
            print(f"\n$ ls {place}/examples", flush=True)
            names = sorted(os.listdir(f"{place}/examples"))
            print("  " + "  ".join(names))
            demo.verify("3.3.2" in names, "the mount lists the tag 3.3.2")
            lines = {}
            for release in ("1.10.15", "2.10.5", "3.3.2"):
                path = Path(place, "examples", release, "dags", "tutorial.py")
                lines[release] = [ln for ln in path.read_text().splitlines() if "import DAG" in ln]
                print(f"\n$ grep 'import DAG' {path}\n  " + "\n  ".join(lines[release]), flush=True)
            demo.verify(lines["3.3.2"] == ["from airflow.sdk import DAG"], f"read {lines['3.3.2']}")
            demo.verify(lines["1.10.15"] == ["from airflow import DAG"], f"read {lines['1.10.15']}")
        finally:
            demo.run("umount", place)


def deployments(demo: Demo) -> None:
    """Hooks in a clone: a commit is deployed, its branch rewound; a backup brings it to an empty machine."""
    demo.say("Deployments: Git hooks tell which refs moved; nothing that was deployed is lost")
    with tempfile.TemporaryDirectory(prefix="gitdags-demo-deployed-") as place:
        clone = Path(place, "live")

        def git(*words: str, show: bool = True) -> str:
            if show:
                print(f"\n$ git -C {clone} {shlex.join(words)}", flush=True)
            who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
            done = subprocess.run(
                ["git", "-C", str(clone), *who, *words], check=True, capture_output=True, text=True
            )
            return done.stdout.strip()

        subprocess.run(["git", "clone", "-q", str(CACHE / "history"), str(clone)], check=True)
        # A home of its own: the demo's goes on without this clone.
        outer, demo.environ = demo.environ, {**demo.environ, "GITDAGS_HOME": f"{place}/home"}
        try:
            demo.run("init", str(clone), "--name", "live")
            demo.run("-r", "live", "hooks", "install")
            file = clone / "dags" / "tutorial.py"
            file.write_text(file.read_text() + "# deployed on a Friday\n")
            git("commit", "-q", "-a", "-m", "a change")
            deployed = git("rev-parse", "HEAD", show=False)
            git("reset", "-q", "--hard", "HEAD~")
            git("reflog", "expire", "--expire=now", "--all")
            demo.run("-r", "live", "deploys")
            moves = demo.json("-r", "live", "deploys")
            demo.verify(len(moves) == 2, f"2 moves were recorded, not {len(moves)}")
            git("gc", "-q", "--prune=now")
            _end_of_handler(clone)
            demo.run("-r", "live", "backup", f"{place}/backup")
            shutil.rmtree(clone)
            demo.environ = {**outer, "GITDAGS_HOME": f"{place}/elsewhere"}
            demo.say("On an empty machine, from the backup alone")
            demo.run("restore", f"{place}/backup")
            code = demo.run("show", "tutorial", "--at", deployed, "--code", lines=3)
            demo.verify("deployed on a Friday" in code, "the deployed code is back")
        finally:
            demo.environ = outer


_REPORT = """
import os
from airflow.sdk import dag, task

@dag(schedule=None)
def report():
    @task
    def count():
        print("ran", os.path.realpath(__file__), "which counts {what}")

    count()

report()
"""


def a_run(demo: Demo) -> None:
    """A real Airflow runs a DAG; its branch is rewritten; the run still has its own code."""
    demo.say("A real Airflow, for a minute: the run keeps its commit after the branch moved on")
    with tempfile.TemporaryDirectory(prefix="gitdags-demo-run-") as place:
        clone = Path(place, "reports")

        def git(*words: str) -> str:
            who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
            done = subprocess.run(
                ["git", "-C", str(clone), *who, *words], check=True, capture_output=True, text=True
            )
            return done.stdout.strip()

        def commit(what: str, *more: str) -> str:
            (clone / "dags").mkdir(exist_ok=True)
            (clone / "dags" / "report.py").write_text(_REPORT.replace("{what}", what))
            git("add", "-A")
            git("commit", "-q", "-m", f"count {what}", *more)
            return git("rev-parse", "HEAD")

        subprocess.run(["git", "init", "-q", "-b", "main", str(clone)], check=True)
        apples = commit("apples")
        home = Path(place, "home")
        outer, demo.environ = demo.environ, {**demo.environ, "GITDAGS_HOME": str(home)}
        try:
            demo.run("init", str(clone), "--name", "reports")
            bundle = {
                "name": "reports",
                "classpath": "gitdags.airflow.bundle.GitDagsBundle",
                "kwargs": {"repo": "reports", "ref": "main", "export": True},
            }
            print(f"\n  airflow.cfg: dag_bundle_config_list = [{json.dumps(bundle)}]")
            env = {"GITDAGS_HOME": str(home)}
            with Instance(Path(place, "instance"), [bundle], env=env) as airflow:
                airflow.start()
                airflow.wait(lambda: airflow.api("dags/report", ok=False)[0] == 200, "it is parsed")
                airflow.trigger("report", "first")
                airflow.finish("report", "first")
                log = airflow.task_logs("report", "first")
            said = re.search(r"ran (/\S+) which counts \w+", log)
            print(f"\n  the task's log: {said[0] if said else '?'}")
            demo.verify(said is not None and apples in said[1], "the task ran its commit's file")
            demo.run("drain")
            demo.say("The branch is rewritten, and everything unreachable thrown away")
            commit("oranges", "--amend")
            git("reflog", "expire", "--expire=now", "--all")
            git("gc", "-q", "--prune=now")
            demo.run("runs", "--tries")
            runs = demo.json("runs", "report")
            demo.verify([r["commit"] for r in runs] == [apples], "the run is at its commit")
            code = demo.run("show", "report", "--run", "first", "--code", lines=14)
            demo.verify("counts apples" in code, "the run's code is its own")
        finally:
            demo.environ = outer


def _end_of_handler(clone: Path) -> None:
    """Wait for what a hook has started, so that nothing looks for a clone that is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        fd = os.pidfd_open(int((clone / ".git/gitdags/handler").read_text()))
        select.select([fd], [], [], 120)
        os.close(fd)


COMPARISON = "examples/compare?from=2.10.5&to=3.3.2&dag=example_dag_decorator"


def in_a_browser(demo: Demo) -> None:
    """The page of two releases compared, fetched and looked at."""
    if demo.check:  # a person gets it at the very end, and it stays
        pages(demo, COMPARISON, stay=False)


def pages(demo: Demo, path: str, *, stay: bool) -> None:
    """Serve, name the address of a page and fetch it; with ``stay`` until a person ends it."""
    demo.say("And all of it in a browser")
    print("\n$ gitdags serve --port 0", flush=True)
    server = subprocess.Popen(
        [GITDAGS, "-q", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=demo.environ,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        demo.verify(bool(address), "serve prints its address")
        page = f"{address}{path}"
        print(f"  {page}", flush=True)
        with urllib.request.urlopen(page, timeout=60) as answer:
            text = answer.read().decode()
        for part in ("<svg", 'class="node', "airflow 3.3.2", 'class="delta') * (path == COMPARISON):
            demo.verify(part in text, f"the page of the comparison has {part}")
        if stay and sys.stdin.isatty():
            print("  it stays until Ctrl-C", flush=True)
            webbrowser.open(page)
            with contextlib.suppress(KeyboardInterrupt):
                server.wait()
    finally:
        server.terminate()
        server.wait(30)


STEPS: list[Callable[[Demo], None]] = [
    history,
    at_a_commit,
    through_history,
    across_eras,
    for_ci,
    as_folders,
    deployments,
    a_run,
    in_a_browser,
]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
