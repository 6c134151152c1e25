"""What gitdags' hooks add to a Git command, in milliseconds: aim below 20.

The same commands in clones of one repository: without hooks; with hooks that only write down; with hooks
that start gitdags in the background, as installed. Rounds are interleaved; a difference is taken within
its round.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gitdags import hooks
from gitdags.catalog import Catalog
from gitdags.config import Settings

FILES = 1_000
COMMANDS = {
    "commit": ["commit", "-q", "--allow-empty", "-m", "x"],
    "checkout": ["checkout", "-q", "-b", "b{n}", "HEAD~"],
    "reset --hard": ["reset", "-q", "--hard", "HEAD@{{1}}"],
    "push": ["push", "-q", "../{side}.git", "HEAD:refs/heads/r{n}"],
}
ENV = {
    **os.environ, "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org",
}  # fmt: skip
SIDES = ("without", "writing down", "as installed")


def main(argv: Sequence[str]) -> int:
    """Run the rounds and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench hooks")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args(argv)
    taken: dict[str, dict[str, list[float]]] = {c: {s: [] for s in SIDES} for c in COMMANDS}
    cpu: dict[str, dict[str, list[float]]] = {c: {s: [] for s in SIDES} for c in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="gitdags-bench-") as name:
        folder = Path(name)
        _make(folder)
        for number in range(args.rounds):
            for command, words in COMMANDS.items():
                for side in SIDES:
                    told = [w.format(n=number, side=side.replace(" ", "-")) for w in words]
                    start, used = time.perf_counter(), _cpu()
                    _git(folder / side.replace(" ", "-"), *told)
                    taken[command][side].append(1000 * (time.perf_counter() - start))
                    cpu[command][side].append(1000 * (_cpu() - used))
        _wait(folder)
    result = {
        command: {
            side: {
                "median_ms": statistics.median(sides[side]),
                "p95_ms": _p95(sides[side]),
                "added_median_ms": statistics.median(_added(sides, side)),
                "added_p95_ms": _p95(_added(sides, side)),
                "added_cpu_ms": statistics.mean(_added(cpu[command], side)),
            }
            for side in SIDES
        }
        for command, sides in taken.items()
    }
    print(
        "| ms, median / p95 | without | added by writing down | added as installed |\n|---|---|---|---|"
    )
    for command, sides in result.items():
        cells = [f"{sides['without']['median_ms']:.1f} / {sides['without']['p95_ms']:.1f}"]
        cells += [
            f"{sides[s]['added_median_ms']:.1f} / {sides[s]['added_p95_ms']:.1f}" for s in SIDES[1:]
        ]
        cells.append(f"{sides[SIDES[2]]['added_cpu_ms']:.1f}")
        print(f"| `git {command}` | {' | '.join(cells)} |")
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _make(folder: Path) -> None:
    for side in SIDES:
        clone = folder / side.replace(" ", "-")
        clone.mkdir()
        _git(clone, "init", "-q", "-b", "main")
        for n in range(FILES):
            (clone / f"d{n % 20}").mkdir(exist_ok=True)
            (clone / f"d{n % 20}" / f"f{n}").write_text(f"{n}\n")
        _git(clone, "add", ".")
        _git(clone, "commit", "-q", "-m", "1")
        _git(clone, "commit", "-q", "--allow-empty", "-m", "2")
        bare = folder / f"{clone.name}.git"
        _git(folder, "clone", "-q", "--bare", str(clone), str(bare))
        if side == "without":
            continue
        settings = Settings({"home": str(folder / "home")}, {})
        with Catalog(settings) as catalog:
            for place in (clone, bare):
                catalog.registry.add(str(place), name=place.name)
                python = sys.executable if side == SIDES[2] else "/nonexistent"
                hooks.install(place, {"home": str(settings.home)}, python=python)


def _cpu() -> float:
    """Seconds that commands which have ended used; what they left in the background is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _git(place: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=place, env=ENV, check=True, capture_output=True)


def _wait(folder: Path) -> None:
    """Until what the hooks started has ended: the folder goes."""
    for place in ("as-installed/.git", "as-installed.git"):
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            fd = os.pidfd_open(int((folder / place / "gitdags" / "handler").read_text()))
            select.select([fd], [], [], 600)
            os.close(fd)


def _added(sides: dict[str, list[float]], side: str) -> list[float]:
    return [a - b for a, b in zip(sides[side], sides["without"], strict=True)]


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
