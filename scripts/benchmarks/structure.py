"""The structure of the DAGs of a folder, as Airflow has it and as the recorder has it, held together.

Shared by `recorder` and `fidelity`, and by the tests. Structure is task ids, edges, groups; beside it
operator class names, trigger rules, what is mapped, labels and schedules are compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitdags.serialize.pool import Limits, Outcome, Pool, Request, Surroundings

EXPLAINED = {
    "example_python_decorator": "defines two tasks more where virtualenv is installed, as it is taken to be",
    "example_python_operator": "defines two tasks more where virtualenv is installed, as it is taken to be",
}
"""DAG of Airflow's examples -> why it differs between Airflow alone and the recorder."""
PEER = Path(__file__).parent / "peer_structure.py"


@dataclass
class Score:
    """Counts of one folder; ``misses`` has (file, DAG or "", what differs)."""

    files: int = 0
    """that Airflow finds a DAG in"""
    found: int = 0
    """of these, in which the recorder finds every DAG"""
    dags: int = 0
    identical: int = 0
    """DAGs with the same task ids, edges and groups"""
    operators: int = 0
    """of these, with the same operator class names too"""
    details: int = 0
    """of these, with the same rules, labels and mapped tasks too"""
    schedules: int = 0
    """DAGs whose schedule means the same"""
    refused: int = 0
    """files that Airflow refuses"""
    given: int = 0
    """of these, in which the recorder finds a DAG all the same"""
    misses: list[tuple[str, str, str]] = field(default_factory=list)

    def share(self, name: str) -> float:
        """Files or DAGs right, of all; 1.0 of none."""
        whole = self.files if name == "found" else self.dags
        return getattr(self, name) / whole if whole else 1.0


def dag_files(root: Path, dags: str) -> list[str]:
    """The files below a folder that Airflow's safe mode would look at, relative to the root."""
    found = []
    for path in sorted((root / dags).rglob("*.py")):
        text = path.read_bytes().lower() if path.is_file() else b""
        if b"airflow" in text and b"dag" in text:
            found.append(str(path.relative_to(root)))
    return found


def by_airflow(
    python: str, root: Path, dags: str, files: Sequence[str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """path -> ``{"dags": {dag_id: structure}, "error"}``, by an interpreter that has Airflow."""
    given = {"root": str(root), "dags": dags, "files": list(files), "environ": dict(environ)}
    done = subprocess.run(
        [python, "-B", "-W", "ignore", str(PEER)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def by_recorder(
    root: Path,
    dags: str,
    files: Sequence[str],
    environ: Mapping[str, str],
    era: str = "",
    python: str = sys.executable,
) -> dict[str, Outcome]:
    """path -> what the recorder makes of it."""
    surroundings = Surroundings(python, dags_folder=dags, environ=environ, engine="recorder")
    with Pool(surroundings, Limits(), 2) as pool:
        requests = [Request(root, file.encode(), (), era) for file in files]
        return {outcome.request.file.decode(): outcome for outcome in pool.run(requests)}


def of_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document's structure, in the shape of `by_airflow`."""
    schedule = document["schedule"]
    return {
        "tasks": {
            task["task_id"]: {
                "operator": task["operator"],
                "rule": task["trigger_rule"],
                "mapped": task["mapped"] is not None,
            }
            for task in document["tasks"]
        },
        "edges": document["edges"],
        "groups": sorted(group["group_id"] for group in document["groups"]),
        "schedule": _schedule(schedule),
    }


def _schedule(schedule: Mapping[str, Any]) -> list[Any]:
    """(type, value); a cron expression in a time zone of its own is one all the same."""
    kind, value = schedule["type"], schedule["value"]
    if kind == "timetable" and value["class"].endswith(
        (".CronTriggerTimetable", ".CronDataIntervalTimetable")
    ):
        return ["cron", value["fields"]["expression"]]
    return [kind, value if kind in ("cron", "timedelta") else None]


def score(truth: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> Score:
    """Hold the one against the other."""
    found = Score()
    for file, theirs in truth.items():
        outcome = outcomes[file]
        mine = {one["document"]["dag_id"]: of_document(one["document"]) for one in outcome.dags}
        if not theirs["dags"]:
            found.refused += bool(theirs.get("error"))
            found.given += bool(theirs.get("error") and mine)
            continue
        found.files += 1
        missing = sorted(theirs["dags"].keys() - mine.keys())
        found.found += not missing
        for dag_id, wanted in theirs["dags"].items():
            found.dags += 1
            if dag_id in mine:
                _compare(found, file, dag_id, wanted, mine[dag_id])
            else:
                why = "; ".join(f"{e['type']}: {e['message']}" for e in outcome.errors)
                found.misses.append((file, dag_id, f"not found: {why[:200]}"))
    return found


def _compare(
    found: Score, file: str, dag_id: str, wanted: dict[str, Any], got: dict[str, Any]
) -> None:
    def say(what: str) -> None:
        found.misses.append((file, dag_id, what[:400]))

    edges = [{tuple(edge[:2]) for edge in one["edges"]} for one in (wanted, got)]
    ids = [set(one["tasks"]) for one in (wanted, got)]
    same = True
    for name, (a, b) in (("tasks", ids), ("edges", edges)):
        if a != b:
            say(f"{name}: lacks {sorted(a - b)[:4]}, has {sorted(b - a)[:4]} too")
            same = False
    if wanted["groups"] != got["groups"]:
        say(f"groups: {wanted['groups']} are {got['groups']}")
        same = False
    schedule = list(wanted["schedule"])
    if schedule[0] in ("timetable", "assets"):
        schedule[1] = None
    if schedule == got["schedule"]:
        found.schedules += 1
    else:
        say(f"schedule: {wanted['schedule']} is {got['schedule']}")
    if not same:
        return
    found.identical += 1
    tasks = [(key, wanted["tasks"][key], got["tasks"][key]) for key in wanted["tasks"]]
    other = [
        (k, a["operator"], b["operator"]) for k, a, b in tasks if a["operator"] != b["operator"]
    ]
    if other:
        say(f"operators: {other[:3]}")
        return
    found.operators += 1
    rules = [k for k, a, b in tasks if (a["rule"], a["mapped"]) != (b["rule"], b["mapped"])]
    labels = [{tuple(edge) for edge in one["edges"]} for one in (wanted, got)]
    if rules or labels[0] != labels[1]:
        say(f"rules, mapped or labels: {rules[:3]} {sorted(labels[0] ^ labels[1], key=str)[:3]}")
        return
    found.details += 1
