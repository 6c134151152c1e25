"""100,000 stamps over 5,000 commits: how fast they are stored, how fast the questions are answered.

On SQLite and on a PostgreSQL server of the benchmark's own. Runs have a commit each in turn, four
stamps: begun, a try begun and ended, ended. Each question is asked in turn with the others.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from gitdags.model import RunStamp, Runtime, Stamp
from gitdags.store import Store
from tests.postgres import server

STAMPS, COMMITS, DAGS, BATCH, ROUNDS = 100_000, 5_000, 200, 1_000, 50
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> int:
    """Measure both databases; a table, and JSON with --json."""
    parser = argparse.ArgumentParser(prog="scripts/bench runs")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        found["sqlite"] = measure(f"sqlite:///{folder}/store.db")
    with server() as url:
        found["postgresql"] = measure(url.format(database="postgres"))
    for database, figures in found.items():
        print(f"\n{database}: {figures['stamps_per_second']:,.0f} stamps/s")
        for question, (rows, p50, p99) in figures["questions"].items():
            print(f"  {question:<28} {rows:>6} runs   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2))
    return 0


def measure(url: str) -> dict[str, object]:
    """Stamps stored per second, and (rows, p50, p99 in ms) of each question."""
    store = Store(url)
    store.upgrade()
    random.seed(7)
    commits = [f"{random.getrandbits(160):040x}" for _ in range(COMMITS)]
    events = [event for number in range(STAMPS // 4) for event in run(number, commits)]
    began = time.perf_counter()
    for at in range(0, len(events), BATCH):
        store.stamps.add(events[at : at + BATCH])
    seconds = time.perf_counter() - began
    questions: dict[str, Callable[[], list[RunStamp]]] = {
        "runs --at COMMIT": lambda: store.runs.newest(commit=random.choice(commits)),
        "runs DAG (all of it)": lambda: store.runs.newest(dag_id=f"dag_{random.randrange(DAGS)}"),
        "runs DAG, the newest 50": lambda: store.runs.newest(dag_id="dag_7", limit=50),
        "runs, the newest 50": lambda: store.runs.newest(limit=50),
        "one run": lambda: store.runs.find("dag_3", "scheduled__3"),
    }
    took: dict[str, list[float]] = {question: [] for question in questions}
    rows: dict[str, int] = {}
    for _ in range(ROUNDS):
        for question, ask in questions.items():
            began = time.perf_counter()
            rows[question] = len(ask())
            took[question].append((time.perf_counter() - began) * 1e3)
    store.close()
    return {
        "stamps_per_second": STAMPS / seconds,
        "questions": {
            question: (
                rows[question],
                statistics.median(times),
                statistics.quantiles(times, n=100)[98],
            )
            for question, times in took.items()
        },
    }


def run(number: int, commits: list[str]) -> list[Stamp]:
    """The four stamps of one run."""
    at = BEGIN + timedelta(seconds=number)

    def stamp(part: str, source: str, state: str, **fields: object) -> Stamp:
        return Stamp(
            **{  # type: ignore[arg-type]
                "id": f"{number}{part}", "airflow": "default", "dag_id": f"dag_{number % DAGS}",
                "run_id": f"scheduled__{number}", "state": state, "source": source, "at": at,
                "repo": "dags", "commit": commits[number % COMMITS], **fields,
            }
        )  # fmt: skip

    tried = {"task_id": "load", "try_number": 1, "runtime": Runtime("3.3.2", "3.12.1", "", "abc")}
    return [
        stamp("a", "scheduler", "running", run_uid=str(number)),
        stamp("b", "worker", "running", **tried),
        stamp("c", "worker", "success", **tried),
        stamp("d", "scheduler", "success", run_uid=str(number)),
    ]


if __name__ == "__main__":
    sys.exit(main())
