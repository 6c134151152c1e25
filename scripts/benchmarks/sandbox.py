"""What the sandbox costs: the same DAG files parsed in each tier, by the same warm parser.

For one file after the other, from the request to the outcome, with one job: the tiers take turns file
by file, so that what else the machine does meets all of them. Medians over all files and rounds, and
of the differences and ratios of neighbours. Start-up is measured apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from gitdags import git
from gitdags.checkout import Checkout
from gitdags.serialize import sandbox
from gitdags.serialize.discovery import DagFile, Discovery, Layout
from gitdags.serialize.environment import probe
from gitdags.serialize.pool import Limits, Pool, Request, Surroundings
from gitdags.serialize.sandbox import FULL, LANDLOCK, OFF, Tier

DEFAULT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitdags" / "history"
TIERS: tuple[Tier, ...] = (OFF, FULL, LANDLOCK)


def main(argv: Sequence[str]) -> int:
    """Run the rounds and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench sandbox")
    parser.add_argument("repository", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    if not args.repository.exists():
        script = Path(__file__).parent.parent / "airflow-history"
        subprocess.run([sys.executable, script, "-q", args.repository], check=True)
    repo = git.Repository(args.repository)
    tree = repo.commit(git.resolve(repo, "HEAD").commit).tree
    files = Discovery(repo, Layout()).find(tree).files
    engines = {}
    for engine in ("airflow", "recorder"):
        engines[engine] = _engine(engine, repo, tree, files, args.rounds)
    result = {
        "benchmark": "sandbox",
        "files": len(files),
        "rounds": args.rounds,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "user": "root" if os.getuid() == 0 else "an ordinary user",
        "engines": engines,
    }
    _print(result)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _engine(
    engine: str, repo: git.Repository, tree: str, files: Sequence[DagFile], rounds: int
) -> dict[str, dict[str, float]]:
    environment = probe(sys.executable, None, engine)
    starts: dict[Tier, float] = {}
    taken: dict[Tier, list[float]] = {tier: [] for tier in TIERS}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitdags-bench-")))
        checkout = Checkout(repo, place / "trees", bytecode=False, public=True)
        checkout.move(tree)
        pools = {}
        for tier in TIERS:
            surroundings = Surroundings(
                sys.executable,
                engine=engine,
                confinement=sandbox.choose(tier),
                trees=checkout.place,
                readable=environment.readable,
            )
            began = time.perf_counter()
            pools[tier] = stack.enter_context(Pool(surroundings, Limits(), jobs=1))
            requests = [Request(checkout.folder, f.path, f.imports) for f in files]
            list(pools[tier].run(requests[:1]))
            starts[tier] = time.perf_counter() - began
            list(pools[tier].run(requests))  # what the files name of Airflow is imported now
        for number in range(rounds):
            for request in requests:
                turn = TIERS if number % 2 else tuple(reversed(TIERS))
                for tier in turn:
                    began = time.perf_counter()
                    list(pools[tier].run([request]))
                    taken[tier].append((time.perf_counter() - began) * 1000)
            print(f"{engine}: round {number + 1}", file=sys.stderr)
    found = {}
    for tier in TIERS:
        pairs = list(zip(taken[tier], taken[OFF], strict=True))
        found[tier] = {
            "start_seconds": round(starts[tier], 3),
            "median_ms": round(statistics.median(taken[tier]), 2),
            "added_ms": round(statistics.median(a - b for a, b in pairs), 2),
            "ratio": round(statistics.median(a / b for a, b in pairs), 3),
        }
    return found


def _print(result: dict[str, object]) -> None:
    print(
        f"\n{result['files']} DAG files; {result['machine']}; Python {result['python']}; ", end=""
    )
    print(f"as {result['user']}\n")
    print(f"{'engine':10}{'tier':10}{'ms a file':>11}{'added ms':>10}{'ratio':>8}{'start s':>9}")
    engines: dict[str, dict[str, dict[str, float]]] = result["engines"]  # type: ignore[assignment]
    for engine, tiers in engines.items():
        for tier, row in tiers.items():
            print(
                f"{engine:10}{tier:10}{row['median_ms']:11.1f}{row['added_ms']:10.1f}"
                f"{row['ratio']:8.2f}{row['start_seconds']:9.2f}"
            )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
