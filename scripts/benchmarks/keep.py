"""How much slower git gets in a repository that keeps commits: aim at most 10 %.

Clones of one repository: nothing kept; 5,000 commits kept after 100,000 times being asked to, a batch at a
time as stamps arrive; the same and as many loose keep refs as there can be; for comparison a ref for each
commit. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gitdags import keep

COMMITS, STAMPS, BATCH = 5_000, 100_000, 50
ASKED = {
    "fetch": ["fetch", "-q"],
    "log -100": ["log", "-100", "--decorate", "--oneline"],
    "log": ["log", "--decorate", "--oneline"],
    "status": ["status"],
}
SIDES = ("nothing kept", "5,000 kept", "5,000 kept, loose ones too", "a ref each, packed")


def main(argv: Sequence[str]) -> int:
    """Run the rounds and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench keep")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args(argv)
    taken: dict[str, dict[str, list[float]]] = {a: {s: [] for s in SIDES} for a in ASKED}
    cpu: dict[str, dict[str, list[float]]] = {a: {s: [] for s in SIDES} for a in ASKED}
    with tempfile.TemporaryDirectory(prefix="gitdags-bench-") as name:
        folder = Path(name)
        keeping = _make(folder)
        for _ in range(args.rounds):
            for asked, words in ASKED.items():
                for number, side in enumerate(SIDES):
                    start, used = time.perf_counter(), _cpu()
                    _git(folder / str(number), *words)
                    taken[asked][side].append(1000 * (time.perf_counter() - start))
                    cpu[asked][side].append(1000 * (_cpu() - used))
    result = {
        "wall": {
            a: {s: statistics.median(t) for s, t in sides.items()} for a, sides in taken.items()
        },
        "cpu": {a: {s: statistics.mean(t) for s, t in sides.items()} for a, sides in cpu.items()},
    }
    for measure, what in (("wall", "ms, median (ratio)"), ("cpu", "CPU ms, mean (ratio)")):
        print(f"| {what} | " + " | ".join(SIDES) + " |\n|---|" + "---|" * len(SIDES))
        for asked, sides in result[measure].items():
            base = sides[SIDES[0]]
            cells = [f"{ms:.2f} ({ms / base:.2f})" for ms in sides.values()]
            print(f"| `git {asked}` | {' | '.join(cells)} |")
    for what, ms in keeping.items():
        print(f"{what}: {ms:.2f} ms")
    if args.json is not None:
        args.json.write_text(json.dumps({"git": result, "keeping": keeping}, indent=2) + "\n")
    return 0


def _make(folder: Path) -> dict[str, float]:
    """The clones; milliseconds that keeping took."""
    origin = folder / "origin"
    _git(folder, "init", "-q", "-b", "main", str(origin))
    stream = "".join(
        f"commit refs/heads/main\ncommitter A <a@b> {1_700_000_000 + n * 60} +0000\ndata 3\nc{n % 10}\n\n"
        f"M 100644 inline f{n % 200}\ndata {len(str(n))}\n{n}\n\n"
        for n in range(COMMITS + keep.FOLD_AT)
    )
    _git(origin, "fast-import", "--quiet", input=stream.encode())
    for number in range(len(SIDES)):
        _git(folder, "clone", "-q", str(origin), str(number))
        _git(folder / str(number), "config", "transfer.hideRefs", "refs/gitdags")
        _git(folder / str(number), "config", "log.excludeDecoration", "refs/gitdags/")
    *rest, _ = shas = _git(origin, "rev-list", "--reverse", "main").decode().split()
    some = rest[:COMMITS]
    rng = random.Random(1)
    order = some + [rng.choice(some) for _ in range(STAMPS - COMMITS)]
    first: list[float] = []
    again: list[float] = []
    for number in (1, 2):
        for at in range(0, len(order), BATCH):
            start = time.perf_counter()
            keep.keep(folder / str(number), order[at : at + BATCH])
            (first if at < COMMITS else again).append(1000 * (time.perf_counter() - start))
        keep.fold(folder / str(number))
    for sha in shas[COMMITS : COMMITS + keep.FOLD_AT - 1]:
        keep.keep(folder / "2", [sha])
    lines = "".join(f"create {keep.KEEP}{sha} {sha}\n" for sha in some)
    _git(folder / "3", "update-ref", "--stdin", input=lines.encode())
    _git(folder / "3", "pack-refs", "--all")
    return {
        f"keeping {BATCH} new commits, median": statistics.median(first),
        f"keeping {BATCH} that are kept, median": statistics.median(again),
    }


def _cpu() -> float:
    """Seconds that commands which have ended used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _git(place: Path, *words: str, input: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *words], cwd=place, input=input, check=True, capture_output=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
