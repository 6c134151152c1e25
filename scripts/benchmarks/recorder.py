"""How much of the structure of public repositories the recorder gets, held against real Airflow.

    scripts/bench recorder [--json FILE] [--cache DIR] LIST

Each line of LIST: ``name repository revision dags-folder python [env-file] [held]``, separated by spaces:
a path to a clone, and an interpreter with the Airflow and the providers of its time; ``-`` for no env
file. Airflow is always given the variables; the recorder once with them and once with nothing. Lines
that end in ``held`` are reported apart: what was not looked at while the recorder was made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gitdags import git
from gitdags.serialize import document
from gitdags.serialize.environment import read_env_file
from gitdags.serialize.era import Eras
from scripts.benchmarks import structure
from scripts.benchmarks.structure import Score


@dataclass(frozen=True)
class Case:
    """A repository at a revision."""

    name: str
    repository: str
    revision: str
    dags: str
    python: str
    env_file: str = "-"
    held: bool = False


@dataclass
class Result:
    """What came of it: with the variables given, and with nothing."""

    case: Case
    era: str
    given: Score
    nothing: Score
    milliseconds: float
    """median CPU time a file, in the forked child"""


def main(argv: Sequence[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench recorder")
    parser.add_argument("list", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache", type=Path, help="folder that keeps what Airflow found")
    args = parser.parse_args(argv)
    results = []
    for line in args.list.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            results.append(_run(_case(line.split()), args.cache))
            _print(results[-1])
    for held in (False, True):
        mine = [r for r in results if r.case.held == held and r.given.dags]
        _summary("held back" if held else "built with", mine)
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0


def _case(words: list[str]) -> Case:
    held = words[-1] == "held"
    return Case(*words[: len(words) - held], held=held)


def _truth(
    case: Case,
    sha: str,
    root: Path,
    files: Sequence[str],
    environ: dict[str, str],
    cache: Path | None,
) -> dict[str, Any]:
    """What Airflow makes of the files, remembered if that is wanted: it takes minutes."""
    key = document.digest(document.canonical([sha, case.python, case.dags, environ]))
    kept = None if cache is None else cache / f"{case.name}-{key[:16]}.json"
    if kept is not None and kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    found = structure.by_airflow(case.python, root, case.dags, files, environ)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found))
    return found


def _write(repo: git.Repository, tree: str, root: Path) -> None:
    """The files of a tree; a blob that the clone lacks is left out, as large ones may be."""
    for path, entry in repo.walk(tree):
        if not entry.is_file:
            continue
        try:
            data = repo.blob(entry.oid)
        except git.MissingObject:
            continue
        target = root / path.decode("utf-8", "replace")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _run(case: Case, cache: Path | None) -> Result:
    repo = git.Repository(Path(case.repository))
    commit = repo.commit(git.resolve(repo, case.revision).commit)
    environ = {} if case.env_file == "-" else read_env_file(Path(case.env_file))
    with tempfile.TemporaryDirectory(prefix="gitdags-bench-") as folder:
        root = Path(folder, case.name)
        _write(repo, commit.tree, root)
        files = structure.dag_files(root, case.dags)
        blobs = [repo.find(commit.tree, file.encode()) for file in files]
        era = Eras(repo).of(commit.tree, [entry.oid for entry in blobs if entry is not None])
        truth = _truth(case, commit.sha, root, files, environ, cache)
        given = structure.by_recorder(root, case.dags, files, environ, era)
        nothing = structure.by_recorder(root, case.dags, files, {}, era) if environ else given
    cpu = statistics.median(outcome.cpu for outcome in given.values()) if given else 0.0
    return Result(
        case, era, structure.score(truth, given), structure.score(truth, nothing), cpu * 1000
    )


def _print(result: Result) -> None:
    given, nothing = result.given, result.nothing
    print(
        f"{result.case.name:28}{result.era:9}{given.files:4} files {given.share('found'):6.1%}"
        f"{given.dags:5} DAGs {given.share('identical'):6.1%}, operators {given.share('operators'):6.1%},"
        f" schedule {given.share('schedules'):6.1%}; nothing given {nothing.share('identical'):6.1%};"
        f" refused {given.refused}, given {given.given}; {result.milliseconds:.1f} ms",
        flush=True,
    )
    for file, dag_id, what in given.misses[:12]:
        print(f"      {file} {dag_id}: {what}")


def _summary(title: str, results: Sequence[Result]) -> None:
    if not results:
        return
    print(f"\n{title}: {len(results)}")
    for name, shares in (
        ("files with every DAG", [r.given.share("found") for r in results]),
        ("DAGs identical, given", [r.given.share("identical") for r in results]),
        ("DAGs identical, nothing given", [r.nothing.share("identical") for r in results]),
    ):
        mean, median = statistics.mean(shares), statistics.median(shares)
        print(f"  {name:32} mean {mean:6.1%}  median {median:6.1%}  worst {min(shares):6.1%}")
    for name, parts in (
        ("given", [r.given for r in results]),
        ("nothing", [r.nothing for r in results]),
    ):
        dags, same = sum(p.dags for p in parts), sum(p.identical for p in parts)
        print(f"  all DAGs, {name}: {same} of {dags}, {same / max(dags, 1):.1%}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
