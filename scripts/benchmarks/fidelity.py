"""Airflow's own example DAGs, each release parsed by that release and by the recorder.

    scripts/bench fidelity [--environments DIR] [--json FILE] [VERSION...]

Every release of the real history that can be installed here is put into an environment of its own below
DIR (default: the cache), by `uv` and as of its day, so that its dependencies are those of its time. The
target is 97% in each era; what differs is listed, with its reason where that is known.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.benchmarks import structure

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitdags"
# Release -> the Python it runs on, and the day that its dependencies are taken of.
RELEASES = {
    "1.10.15": ("3.8", "2021-03-25"),
    "2.2.5": ("3.9", "2022-04-10"),
    "2.4.3": ("3.10", "2022-11-20"),
    "2.6.3": ("3.10", "2023-07-20"),
    "2.10.5": ("3.12", "2025-03-01"),
    "2.11.0": ("3.12", "2025-06-01"),
    "3.0.6": ("3.12", "2025-09-10"),
    "3.3.2": ("3.12", "2026-10-01"),
}


def main(argv: Sequence[str]) -> int:
    """Run and print; 1 where an era misses the target."""
    parser = argparse.ArgumentParser(prog="scripts/bench fidelity")
    parser.add_argument("versions", nargs="*", default=list(RELEASES))
    parser.add_argument("--environments", type=Path, default=CACHE / "releases")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    history = CACHE / "history"
    if not history.exists():
        script = Path(__file__).parent.parent / "airflow-history"
        subprocess.run([sys.executable, script, "-q", history], check=True)
    print(
        f"{'':9}{'files':>6}{'found':>8}{'DAGs':>6}{'identical':>11}{'operators':>11}"
        f"{'details':>9}{'schedule':>10}{'ms/file':>9}"
    )
    results = {}
    right = True
    for version in args.versions:
        python = _environment(args.environments / version, version)
        if python is None:
            continue
        score, milliseconds = _one(history, version, python)
        results[version] = asdict(score) | {"milliseconds": milliseconds}
        print(
            f"{version:9}{score.files:6}{score.share('found'):8.1%}{score.dags:6}"
            f"{score.share('identical'):11.1%}{score.share('operators'):11.1%}"
            f"{score.share('details'):9.1%}{score.share('schedules'):10.1%}{milliseconds:9.1f}",
            flush=True,
        )
        for dag_id, what in {dag: what for _, dag, what in score.misses}.items():
            print(f"         {dag_id}: {structure.EXPLAINED.get(dag_id, what)}")
        unexplained = {dag for _, dag, _ in score.misses} - structure.EXPLAINED.keys()
        right = right and (score.share("identical") >= 0.97 or not unexplained)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if right else 1


def _environment(folder: Path, version: str) -> str | None:
    """The interpreter of a release's environment, made if need be; None where it cannot be."""
    python = folder / "bin" / "python"
    if python.exists():
        return str(python)
    uv = shutil.which("uv")
    if uv is None:
        print(f"{version:9}left out: there is no uv to install it with (pip install uv)")
        return None
    wanted, day = RELEASES[version]
    package = "apache-airflow" if version < "3" else "apache-airflow-core"
    more = [] if version < "3" else ["apache-airflow-providers-standard"]
    try:
        subprocess.run([uv, "venv", "-q", "--python", wanted, folder], check=True)
        subprocess.run(
            [
                uv, "pip", "install", "-q", "--python", python, "--exclude-newer", day,
                f"{package}=={version}", *more,
            ],
            check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{version:9}left out: it cannot be installed here")
        return None
    return str(python)


def _one(history: Path, version: str, python: str) -> tuple[structure.Score, float]:
    with tempfile.TemporaryDirectory(prefix="gitdags-bench-") as folder:
        root = Path(folder)
        packed = subprocess.run(
            ["git", "-C", history, "archive", version], check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", root], input=packed.stdout, check=True)
        files = structure.dag_files(root, "dags")
        truth = structure.by_airflow(python, root, "dags", files, {})
        mine = structure.by_recorder(root, "dags", files, {}, version)
        cpu = statistics.median(outcome.cpu for outcome in mine.values())
        return structure.score(truth, mine), round(cpu * 1000, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
