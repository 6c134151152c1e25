"""What a stamp costs Airflow, and whether one is ever lost.

The listener is called through Airflow's own listener manager, with rows and task instances of Airflow's
own classes: in a process like the scheduler's (written, synced within 100 ms by a thread), in one like a
task's (on the disk before it returns), and in 8 of either at once. Beside it the same call with no
listener, and a bare write with fdatasync. Wall time, and the CPU time of the calling thread: what the
first has more is the disk's and the machine's other work.

Then 8 writers and a drainer are killed at random, with the store away for a while: what was
acknowledged must be in the store, once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TARGETS = {"scheduler": 0.5, "task": 2.0}  # ms, p99
WRITERS = 8

_WRITER = """
import os, sys
from pathlib import Path
from gitdags.airflow.outbox import Outbox
from gitdags.spool import Spool
folder, writer, generation = sys.argv[1:]
spool = Spool(Path(folder) / "spool")
acks = os.open(Path(folder) / f"ack-{writer}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
n = 0
while True:
    run, task = f"{writer}-{generation}-{n // 50}", f"t{n % 50}"
    spool.append({"kind": "stamp", "airflow": "bench", "dag_id": f"d{writer}", "run_id": run,
                  "task_id": task, "try_number": 1, "state": "running", "source": "worker",
                  "commit": "1" * 40, "repo": "r", "path": "/x" * (n % 7 * 100)})
    os.write(acks, f"\\n{run} {task}$\\n".encode())
    n += 1
"""
_DRAINER = """
import sys, time
from gitdags.catalog import Catalog
from gitdags.errors import GitdagsError
while True:
    try:
        with Catalog() as catalog:
            while True:
                catalog.drain()
                time.sleep(0.02)
    except GitdagsError as error:
        print(error.message, flush=True)
        time.sleep(0.05)
"""


def main(argv: Sequence[str]) -> int:
    """Measure, try to lose one, print."""
    parser = argparse.ArgumentParser(prog="scripts/bench stamp")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="gitdags-bench-") as folder:
        os.environ |= {"AIRFLOW_HOME": folder, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        times = _times(Path(folder), args.events, args.rounds)
        crash = _crash(Path(folder, "crash"), args.events)
    result = {
        "benchmark": "stamp",
        "events": args.events,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "milliseconds": times,
        "crash": crash,
    }
    _print(result)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if crash["lost"] == crash["twice"] == 0 else 1


# ── time ──────────────────────────────────────────────────────────────────────────────────


Sample = tuple[float, float]
"""Milliseconds of one event: (wall, CPU of the calling thread)."""


def _times(folder: Path, events: int, rounds: int) -> dict[str, dict[str, float]]:
    kinds = ("scheduler", "task")
    found: dict[str, list[list[Sample]]] = {}
    for number in range(rounds):
        for kind in kinds:
            for listening in (False, True):
                name = kind if listening else f"{kind}, no listener"
                place = folder / f"{number}-{name}"
                found.setdefault(name, []).append(_call(kind, place, events, listening=listening))
        found.setdefault("bare append and fdatasync", []).append(
            _bare(folder / f"{number}-bare", events)
        )
        for kind in kinds:
            name = f"{kind}, {WRITERS} processes"
            found.setdefault(name, []).append(_together(kind, folder / f"{number}-{name}", events))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    found["task, first event of a process"] = [_first(folder / "first", 20)]
    return {name: _summary(taken) for name, taken in found.items()}


def _summary(rounds: list[list[Sample]]) -> dict[str, float]:
    """Medians over the rounds of each round's percentiles, in ms."""

    def percentile(of: float, which: int) -> float:
        ordered = [sorted(sample[which] for sample in taken) for taken in rounds]
        return statistics.median(taken[int(of * (len(taken) - 1))] for taken in ordered)

    return {
        "p50": round(percentile(0.5, 0), 4),
        "p99": round(percentile(0.99, 0), 4),
        "max": round(percentile(1.0, 0), 3),
        "cpu_p50": round(percentile(0.5, 1), 4),
        "cpu_p99": round(percentile(0.99, 1), 4),
    }


def _call(kind: str, folder: Path, events: int, *, listening: bool = True) -> list[Sample]:
    """Each call of Airflow's hook."""
    from airflow._shared.listeners.listener import ListenerManager
    from airflow._shared.listeners.spec import taskinstance
    from airflow.listeners.spec import dagrun

    from gitdags.airflow.listener import Listener
    from gitdags.airflow.outbox import Outbox
    from gitdags.airflow.runtime import Runtime
    from gitdags.spool import Spool

    manager = ListenerManager()
    manager.add_hookspecs(dagrun)
    manager.add_hookspecs(taskinstance)
    if listening:
        runtime = Runtime(folder.parent / "cache")
        runtime.warm(wait=True)
        outbox = Outbox(Spool(folder / "spool"))
        manager.add_listener(Listener("bench", {"sales": "sales"}, outbox, runtime))
    event = _run_event(manager) if kind == "scheduler" else _task_event(manager)
    taken = []
    for number in range(events):
        began, used = time.perf_counter_ns(), time.thread_time_ns()
        event(number)
        spent = time.thread_time_ns() - used
        taken.append(((time.perf_counter_ns() - began) / 1e6, spent / 1e6))
    return taken


def _run_event(manager: Any) -> Callable[[int], None]:
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun

    run = DagRun(dag_id="etl", run_id="r", run_type="manual", bundle_version="1" * 40)
    run.dag_model = DagModel(dag_id="etl", bundle_name="sales")

    def event(number: int) -> None:
        run.run_id = f"manual__{number}"
        manager.hook.on_dag_run_running(dag_run=run, msg="")

    return event


def _task_event(manager: Any) -> Callable[[int], None]:
    import uuid
    from types import SimpleNamespace

    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    # The path exists: the real path of the DAG file is looked up for every event.
    dag = SimpleNamespace(fileloc=os.path.realpath(__file__))
    instance = RuntimeTaskInstance.model_construct(
        id=uuid.uuid4(), dag_id="etl", run_id="r", task_id="extract", try_number=1, map_index=-1,
        task=SimpleNamespace(dag=dag), bundle_instance=SimpleNamespace(name="sales", version="1" * 40),
    )  # fmt: skip

    def event(number: int) -> None:
        instance.run_id = f"manual__{number}"
        manager.hook.on_task_instance_running(previous_state=None, task_instance=instance)

    return event


def _bare(path: Path, events: int) -> list[Sample]:
    """What the disk takes for as many bytes, with nothing around it."""
    line = b"x" * 700
    taken = []
    for _ in range(events):
        began, used = time.perf_counter_ns(), time.thread_time_ns()
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, line)
        os.fdatasync(fd)
        os.close(fd)
        spent = time.thread_time_ns() - used
        taken.append(((time.perf_counter_ns() - began) / 1e6, spent / 1e6))
    return taken


def _part(kind: str, folder: Path, events: int, answers: Any) -> None:
    answers.put(_call(kind, folder, events))


def _together(kind: str, folder: Path, events: int) -> list[Sample]:
    """As `_call`, by many processes that write to one spool."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    parts = [
        context.Process(target=_part, args=(kind, folder, events // WRITERS, answers))
        for _ in range(WRITERS)
    ]
    for part in parts:
        part.start()
    taken = [answers.get() for _ in parts]
    for part in parts:
        part.join()
    return [each for one in taken for each in one]


def _first(folder: Path, processes: int) -> list[Sample]:
    """The first event of a process that was just forked, as every task's is."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    taken = []
    for _ in range(processes):
        part = context.Process(target=_part, args=("task", folder, 1, answers))
        part.start()
        taken += answers.get()
        part.join()
    return taken


# ── loss ──────────────────────────────────────────────────────────────────────────────────


def _crash(folder: Path, events: int) -> dict[str, int]:
    """Kill writers and the drainer at random, take the store away for a while, and count."""
    home = folder / "home"
    home.mkdir(parents=True)
    env = {**os.environ, "GITDAGS_HOME": str(home), "GITDAGS_SPOOL": str(folder / "spool")}

    def start(code: str, *words: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    _drain(env)  # makes the store
    rng = random.Random(4)
    writers = {w: start(_WRITER, folder, w, 0) for w in range(WRITERS)}
    drainer = start(_DRAINER)
    generation = drained = 0
    away = ""
    began = time.monotonic()
    while (spent := time.monotonic() - began) < 20 or _acknowledged(folder)[1] < events:
        time.sleep(rng.random() * 0.3)
        generation += 1
        one = rng.randrange(WRITERS)
        kill(writers[one])
        writers[one] = start(_WRITER, folder, one, generation)
        if rng.random() < 0.2:
            kill(drainer)
            drained += 1
            drainer = start(_DRAINER)
        if not away and spent > 5:
            away = "now"
            os.rename(home, folder / "away")
        elif away == "now" and spent > 10:
            away = "over"
            with contextlib.suppress(OSError):
                os.rename(home, folder / f"made-meanwhile-{generation}")
            os.rename(folder / "away", home)
    for process in (*writers.values(), drainer):
        kill(process)
    _drain(env)
    acknowledged, _ = _acknowledged(folder)
    stored = _stored(home / "gitdags.db")
    for other in folder.glob("made-meanwhile-*/gitdags.db"):
        stored += _stored(other)
    return {
        "acknowledged": len(acknowledged),
        "writers_killed": generation,
        "drainers_killed": drained,
        "seconds_without_store": 5,
        "stored": len(stored),
        "lost": len(acknowledged - set(stored)),
        "twice": len(stored) - len(set(stored)),
        "stored_before_it_was_acknowledged": len(set(stored) - acknowledged),
    }


def _drain(env: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "gitdags.cli.main", "-q", "drain"],
        env=env, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _acknowledged(folder: Path) -> tuple[set[str], int]:
    """What writers were told is kept, and how many that is. A line cut off by a kill is none."""
    found = set()
    for path in folder.glob("ack-*"):
        lines = path.read_text().split("\n")
        found.update(line[:-1] for line in lines if line.endswith("$"))
    return found, len(found)


def _stored(database: Path) -> list[str]:
    store = sqlite3.connect(database)
    try:
        return [
            f"{run} {task}" for run, task in store.execute("select run_id, task_id from stamps")
        ]
    finally:
        store.close()


def _print(result: dict[str, Any]) -> None:
    print(f"\n{result['events']:,} events; {result['machine']}; Python {result['python']}\n")
    print(f"{'ms per event':36}{'p50':>9}{'p99':>9}{'max':>9}{'CPU p50':>9}{'CPU p99':>9}  target")
    for name, row in result["milliseconds"].items():
        target = TARGETS.get(name)
        word = ""
        if target is not None:
            word = f"{target:g}: " + ("met" if row["p99"] < target else "missed")
        figures = "".join(f"{row[key]:9.3f}" for key in ("p50", "p99", "max", "cpu_p50", "cpu_p99"))
        print(f"{name:36}{figures}  {word}")
    print()
    for name, value in result["crash"].items():
        print(f"{value:9,}  {name.replace('_', ' ')}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
