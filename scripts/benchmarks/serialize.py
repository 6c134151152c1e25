"""Files per second from DAG file to document, against a fresh interpreter per file and one DagBag.

All sides parse the same files of one commit (default: the example DAGs of the newest release in
the real history) and serialize every DAG, with start-up, with the same number of processes. Rounds
are interleaved; the figures are medians, the ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gitdags import git
from gitdags.checkout import Checkout
from gitdags.serialize import document
from gitdags.serialize.discovery import DagFile, Discovery, Layout
from gitdags.serialize.pool import Limits, Pool, Request, Surroundings

DEFAULT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitdags" / "history"

PARSE = """
import sys
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = BundleDagBag(dag_folder=sys.argv[1], bundle_path=sys.argv[2], bundle_name="bench", safe_mode=True)
done = 0
for dag in bag.dags.values():
    try:
        DagSerialization.to_dict(dag)
        done += 1
    except Exception as error:  # two examples want a plugin; every side meets them
        print(error, file=sys.stderr)
print(done)
"""
Sample = tuple[float, float, int]
"""(wall seconds, CPU seconds, DAGs)"""


def main(argv: Sequence[str]) -> int:
    """Run the rounds and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench serialize")
    parser.add_argument("repository", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    if not args.repository.exists():
        script = Path(__file__).parent.parent / "airflow-history"
        subprocess.run([sys.executable, script, "-q", args.repository], check=True)
    repo = git.Repository(args.repository)
    tree = repo.commit(git.resolve(repo, "HEAD").commit).tree
    files = Discovery(repo, Layout()).find(tree).files
    with tempfile.TemporaryDirectory(prefix="gitdags-bench-") as folder:
        checkout = Checkout(repo, Path(folder, "tree"))
        checkout.move(tree)
        root = checkout.folder
        home = Path(folder, "home")
        home.mkdir()
        sides: dict[str, Callable[[], Sample]] = {
            "gitdags, 1 process": lambda: _gitdags(root, files, 1),
            "gitdags, 2 processes": lambda: _gitdags(root, files, 2),
            "its recorder, 1 process": lambda: _gitdags(root, files, 1, "recorder"),
            "fresh interpreter per file, 1 process": lambda: _fresh(root, home, files, 1),
            "fresh interpreter per file, 2 processes": lambda: _fresh(root, home, files, 2),
            "one DagBag over the folder": lambda: _dagbag(root, home),
        }
        _dagbag(root, home)  # bytecode and page cache warm for everybody
        samples: dict[str, list[Sample]] = {name: [] for name in sides}
        for number in range(args.rounds):
            for name, side in sides.items():
                samples[name].append(side())
                wall = samples[name][-1][0]
                print(f"round {number + 1}: {name}: {wall:.2f} s", file=sys.stderr)
        warm = _warm_recorder(root, files)
    result = _result(samples, len(files))
    result["recorder_ms_per_file"] = warm
    _print(result)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _measured(work: Callable[[], int]) -> Sample:
    def cpu() -> float:
        used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in used)

    wall, before = time.perf_counter(), cpu()
    dags = work()
    return time.perf_counter() - wall, cpu() - before, dags


def _gitdags(root: Path, files: Sequence[DagFile], jobs: int, engine: str = "airflow") -> Sample:
    def work() -> int:
        dags = 0
        with Pool(Surroundings(sys.executable, engine=engine), Limits(), jobs) as pool:
            replace = [(str(root), "<repo>"), (str(pool.home), "<home>")]
            for outcome in pool.run([Request(root, f.path, f.imports) for f in files]):
                for described in outcome.dags:
                    document.make(described["document"], replace)
                    if described["airflow"] is not None:
                        document.plain_json(described["airflow"], replace)
                    dags += 1
        return dags

    return _measured(work)


def _warm_recorder(root: Path, files: Sequence[DagFile]) -> dict[str, float]:
    """Milliseconds a file from a warm parent: wall time by one job at a time, and CPU of the child."""
    with Pool(Surroundings(sys.executable, engine="recorder"), Limits(), 1) as pool:
        list(pool.run([Request(root, files[0].path)]))
        wall, cpu = [], []
        for file in files:
            began = time.perf_counter()
            outcome = next(pool.run([Request(root, file.path)]))
            wall.append((time.perf_counter() - began) * 1000)
            cpu.append(outcome.cpu * 1000)
    return {
        "wall_median": round(statistics.median(wall), 1),
        "wall_worst": round(max(wall), 1),
        "cpu_median": round(statistics.median(cpu), 1),
    }


def _environ(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite://",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
    }


def _run(root: Path, home: Path, target: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PARSE, target, root / "dags"],
        env=_environ(home),
        capture_output=True,
        check=True,
        text=True,
    )
    return int(done.stdout.split()[-1])


def _fresh(root: Path, home: Path, files: Sequence[DagFile], jobs: int) -> Sample:
    def work() -> int:
        with ThreadPoolExecutor(jobs) as pool:
            paths = [root / os.fsdecode(f.path) for f in files]
            return sum(pool.map(lambda path: _run(root, home, path), paths))

    return _measured(work)


def _dagbag(root: Path, home: Path) -> Sample:
    return _measured(lambda: _run(root, home, root / "dags"))


def _result(samples: dict[str, list[Sample]], files: int) -> dict[str, object]:
    def ratio(top: str, bottom: str, which: int) -> float:
        pairs = zip(samples[top], samples[bottom], strict=True)
        return round(statistics.median(a[which] / b[which] for a, b in pairs), 2)

    rows = {
        name: {
            "wall_seconds": round(statistics.median(s[0] for s in taken), 3),
            "cpu_seconds": round(statistics.median(s[1] for s in taken), 3),
            "files_per_second": round(files / statistics.median(s[0] for s in taken), 1),
            "dags": taken[0][2],
        }
        for name, taken in samples.items()
    }
    return {
        "benchmark": "serialize",
        "files": files,
        "rounds": len(next(iter(samples.values()))),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "rows": rows,
        "ratios": {
            "fresh interpreters / gitdags, wall, 1 process": ratio(
                "fresh interpreter per file, 1 process", "gitdags, 1 process", 0
            ),
            "fresh interpreters / gitdags, wall, 2 processes": ratio(
                "fresh interpreter per file, 2 processes", "gitdags, 2 processes", 0
            ),
            "gitdags, 1 process / DagBag, CPU": ratio(
                "gitdags, 1 process", "one DagBag over the folder", 1
            ),
        },
    }


def _print(result: dict[str, object]) -> None:
    print(f"\n{result['files']} DAG files; {result['machine']}; Python {result['python']}\n")
    print(f"{'':42}{'wall s':>8}{'CPU s':>8}{'files/s':>9}{'DAGs':>6}")
    rows: dict[str, dict[str, float]] = result["rows"]  # type: ignore[assignment]  # made above
    for name, row in rows.items():
        print(
            f"{name:42}{row['wall_seconds']:8.2f}{row['cpu_seconds']:8.2f}"
            f"{row['files_per_second']:9.1f}{row['dags']:6}"
        )
    warm: dict[str, float] = result["recorder_ms_per_file"]  # type: ignore[assignment]  # likewise
    print(
        f"\nrecorder, warm: {warm['wall_median']} ms a file (worst {warm['wall_worst']}), "
        f"{warm['cpu_median']} ms of it CPU of the child\n"
    )
    ratios: dict[str, float] = result["ratios"]  # type: ignore[assignment]  # made above
    for name, value in ratios.items():
        print(f"{value:8.2f}  {name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
