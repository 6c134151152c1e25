"""What a parse depends on beside the commit: interpreter, Airflow, providers, variables, plugins.

Found out without importing Airflow, from the metadata of what is installed, and remembered until
something is installed or removed there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitdags.errors import GitdagsError, shown
from gitdags.serialize import document
from gitdags.serialize.pool import NoAirflow
from gitdags.serialize.worker.recorder import REVISION

RECORDER = "recorder"
"""The engine that stands in for Airflow, beside ``airflow`` itself."""

_PROBE = """
import importlib.metadata as m, json, os, platform, sys, sysconfig
found = {}
for d in m.distributions():
    name = (d.metadata["Name"] or "").lower().replace("_", "-")
    if name.startswith("apache-airflow"):
        found[name] = d.version
paths = sorted({sysconfig.get_path(k) for k in ("purelib", "platlib")})
places = {*paths, sysconfig.get_path("stdlib"), sys.prefix, sys.base_prefix, sys.executable}
print(json.dumps({"python": platform.python_version(), "packages": found, "paths": paths,
                  "places": sorted(places - {"/", "/usr", "/usr/local"}, key=len, reverse=True),
                  "readable": sorted({os.path.abspath(p) for p in (*places, *sys.path,
                      os.path.dirname(os.path.realpath(sys.executable))) if p}
                      - {"/", "/usr", "/usr/local"})}))
"""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BadEnvFile(GitdagsError):
    """A repository's file of variables is missing or malformed."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One way to parse: everything that may change a document, the commit aside."""

    engine: str
    airflow: str
    python: str
    providers: Mapping[str, str] = field(hash=False)
    env_file: str | None = None
    """SHA-256 of the variables, None without any"""
    plugins: str | None = None
    """tree id of the plugins at the commit, None where they are not loaded"""
    layout: str = ""
    """hash of how the repository is laid out and its files are found"""
    build: str | None = None
    """what gitdags built it of, None where the interpreter was there already"""
    site: tuple[str, ...] = field(default=(), compare=False)
    """where the interpreter and its packages lie, longest first; no part of the identity"""
    readable: tuple[str, ...] = field(default=(), compare=False)
    """the same, and all else that it imports from: what a sandbox must let be read"""

    @property
    def id(self) -> str:
        """What rows are keyed by: a hash over all of it."""
        return document.digest(document.canonical({**self._shared(), "plugins": self.plugins}))

    @property
    def family(self) -> str:
        """The same for environments that differ by the repository's own plugins at most.

        Plugins are part of the commit: two commits that differ in them may be compared.
        """
        return document.digest(document.canonical(self._shared()))

    @property
    def era(self) -> int:
        """Airflow's major version; of the recorder, which is of none, the newest."""
        return int(self.airflow.split(".")[0]) if self.airflow else 3

    @property
    def exact(self) -> bool:
        """Whether real Airflow parses, rather than a stand-in."""
        return self.engine == "airflow"

    def __str__(self) -> str:
        return named(self.engine, self.airflow, self.python)

    def _shared(self) -> dict[str, Any]:
        built = {"build": self.build} if self.build is not None else {}
        return built | {
            "engine": self.engine,
            "airflow": self.airflow,
            "python": self.python,
            "providers": dict(self.providers),
            "env_file": self.env_file,
            "layout": self.layout,
        }


def named(engine: str, airflow: str, python: str) -> str:
    """An environment in a few words."""
    return f"{engine} {airflow}".strip() + f", Python {python}"


def probe(python: str, cache: Path | None, engine: str = "airflow") -> Environment:
    """The environment that an interpreter offers to an engine. Raises NoAirflow.

    The recorder needs no Airflow: it raises only where the interpreter cannot be run.

    ``cache`` is a JSON file; what it says holds as long as the interpreter and its site-packages
    have the times of modification noted there.
    """
    facts = _remembered(python, cache) or _ask(python, cache)
    packages: dict[str, str] = facts["packages"]
    if engine == RECORDER:
        own = {"recorder": REVISION}
        return Environment(
            RECORDER,
            "",
            facts["python"],
            own,
            site=tuple(facts["places"]),
            readable=tuple(facts["readable"]),
        )
    version = packages.get("apache-airflow-core") or packages.get("apache-airflow")
    if version is None:
        raise NoAirflow(f"{shown(python)} has no Airflow", hint="pip install 'gitdags[airflow]'")
    prefix = "apache-airflow-providers-"
    providers = {n.removeprefix(prefix): v for n, v in packages.items() if n.startswith(prefix)}
    return Environment(
        "airflow",
        version,
        facts["python"],
        providers,
        site=tuple(facts["places"]),
        readable=tuple(facts["readable"]),
    )


def _ask(python: str, cache: Path | None) -> dict[str, Any]:
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _PROBE], capture_output=True, check=True, timeout=60
        )
        facts: dict[str, Any] = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NoAirflow(
            f"cannot run {shown(python)}: {shown(str(error))}",
            hint=f"{shown(python)} -V",
        ) from None
    facts["times"] = _times([python, *facts["paths"]])
    if cache is not None:
        known = _read(cache)
        known[python] = facts
        cache.parent.mkdir(parents=True, exist_ok=True)
        aside = cache.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(known))
        aside.replace(cache)
    return facts


def _remembered(python: str, cache: Path | None) -> dict[str, Any] | None:
    facts = _read(cache).get(python) if cache is not None else None
    if not isinstance(facts, dict) or "readable" not in facts:
        return None
    if facts.get("times") != _times([python, *facts["paths"]]):
        return None
    return facts


def _read(cache: Path) -> dict[str, Any]:
    try:
        known = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}  # absent or damaged: it is made again
    return known if isinstance(known, dict) else {}


def _times(paths: list[str]) -> list[int]:
    """Times of modification, in ns; 0 for what is gone. Installing a package touches its folder."""
    found = []
    for path in paths:
        try:
            found.append(os.stat(path).st_mtime_ns)
        except OSError:
            found.append(0)
    return found


def default_python() -> str:
    """The interpreter gitdags itself runs in."""
    return sys.executable


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file of ``NAME=value`` lines; blank lines and ``#`` lines are skipped.

    A value in one pair of quotes loses them. Raises BadEnvFile.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadEnvFile(f"{path}: {reason}", hint=f"ls -l {path}") from None
    variables = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()):
            raise BadEnvFile(
                f"{path}, line {number} is not NAME=value", hint=f"sed -n {number}p {path}"
            )
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        variables[name.strip()] = value
    return variables


def env_hash(variables: Mapping[str, str]) -> str | None:
    """SHA-256 of a set of variables, None for an empty one."""
    if not variables:
        return None
    return hashlib.sha256(document.canonical(dict(variables))).hexdigest()
