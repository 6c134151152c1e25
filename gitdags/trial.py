"""Whether an environment can parse at all: a DAG file of our own, confined as any other is."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass

from gitdags import scratch
from gitdags.config import Settings
from gitdags.errors import GitdagsError
from gitdags.parsers import Parser, Parsers
from gitdags.serialize.pool import Limits, Pool, Request, Surroundings

_FILE = b"""
import datetime
from airflow import DAG

dag = DAG("trial", start_date=datetime.datetime(2025, 1, 1))
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went: seconds with start-up, and what went wrong ("" where nothing did)."""

    seconds: float
    problem: str = ""


def run(parsers: Parsers, parser: Parser, settings: Settings) -> Trial:
    """Start a parser and have it parse one small file. Raises NoSandbox."""
    began = time.monotonic()
    place = scratch.make("trial")
    try:
        trees = place / "trees"
        (trees / "repo" / "dags").mkdir(parents=True)
        (trees / "repo" / "dags" / "trial.py").write_bytes(_FILE)
        for folder in (trees, *trees.rglob("*")):
            folder.chmod(0o755)
        surroundings = Surroundings(
            parser.python,
            engine=parser.environment.engine,
            confinement=parsers.confinement,
            trees=trees,
            readable=(*parser.environment.readable, *settings["sandbox_paths"]),
        )
        with Pool(surroundings, Limits(settings["parse_timeout"]), jobs=1) as pool:
            (outcome,) = pool.run([Request(trees / "repo", b"dags/trial.py")])
    except GitdagsError as error:
        return Trial(_since(began), error.message)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if outcome.errors:
        first = outcome.errors[0]
        return Trial(_since(began), f"{first['type']}: {first['message']}")
    return Trial(_since(began), "" if outcome.dags else "it found no DAG in a file that has one")


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)
