"""What a pool is told and what it answers: surroundings, limits, a request, an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitdags.errors import GitdagsError
from gitdags.serialize import sandbox
from gitdags.serialize.sandbox import Confinement


class NoAirflow(GitdagsError):
    """The interpreter that should parse has no Airflow, or one that cannot be imported."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one DAG file may use: wall seconds, bytes, processes and threads.

    ``memory`` holds for the address space of each process, and for what all of them hold together.
    """

    timeout: float = 30.0
    memory: int = 4 << 30
    output: int = 8 << 20
    result: int = 64 << 20
    disk: int = 256 << 20
    processes: int = 128


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every parse of a pool sees beside the tree: layout, environment variables, sandbox."""

    python: str
    dags_folder: str = "dags"
    plugins_folder: str = "plugins"
    plugins: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    hash_seed: str = "0"
    engine: str = "airflow"
    """airflow, or recorder: what parses in that interpreter"""
    confinement: Confinement = sandbox.OPEN
    trees: Path | None = None
    """the folder below which the root of every request lies; a sandbox has nothing else in sight"""
    readable: tuple[str, ...] = ()
    """what the environment consists of, for the sandbox: folders and files, absolute"""


@dataclass(frozen=True, slots=True)
class Request:
    """One DAG file to parse: ``file`` (bytes, relative) below the folder ``root``."""

    root: Path
    file: bytes
    imports: tuple[str, ...] = ()
    """what the file names of Airflow, ``module`` or ``module:name``: imported once, in the parent"""
    era: str = ""
    """version of Airflow that the commit is for, where that is known; the recorder wants to know"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request: descriptions of DAGs, errors, paths read, and how it ended."""

    request: Request
    dags: tuple[dict[str, Any], ...] = ()
    errors: tuple[dict[str, str], ...] = ()
    opened: tuple[str, ...] = ()
    output: str = ""
    cpu: float = 0.0
    scratch: str = ""
    """the folder for temporary files that this parse alone had"""
