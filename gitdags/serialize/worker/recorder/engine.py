"""One DAG file, run against the stand-ins: its DAGs and errors, in the shape of the other engine's."""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import linecache
import os
import re
import sys
import traceback
import warnings
from typing import Any

from . import (
    describe,
    era,
    finder,
    graph,
    notes,
    patches,
    placeholders,
    setups,
    standin,
    surroundings,
)
from .dag import DAG

# Imported in the warm parent where they are installed: DAG files and libraries build on them.
_LIBRARIES = (
    "attr", "attrs", "dataclasses", "dateutil.parser", "dateutil.relativedelta", "jinja2", "numpy",
    "pendulum", "pydantic", "pytz", "yaml", "json", "logging", "pathlib", "textwrap", "typing",
    "collections", "functools", "itertools", "enum", "uuid", "copy", "csv", "glob", "inspect", "string",
    "tempfile", "urllib.parse", "zoneinfo", "asyncio", "importlib.resources", "subprocess",
)  # fmt: skip

_HEAVY = (
    "boto3", "botocore", "cryptography", "duckdb", "elasticsearch", "geopandas", "google.api_core",
    "google.auth", "google.cloud.bigquery", "google.cloud.storage", "httpx", "kubernetes", "lxml",
    "matplotlib", "opensearchpy", "pandas", "paramiko", "polars", "psycopg", "psycopg2", "pyarrow",
    "pymongo", "redis", "requests", "scipy", "sentry_sdk", "sklearn", "slack_sdk", "snowflake.connector",
    "sqlalchemy", "tenacity", "urllib3", "yaml",
)  # fmt: skip
"""Imported in the warm parent once a file has asked for one, where it is installed: none does anything
by being imported, and each takes longer than most files."""

_State = Any
"""(modules, sys.path, environment, working directory) before the file ran"""


def load() -> Recorder:
    """A recorder, with what most files import imported."""
    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: S112  # not installed, or broken: who needs it gets a stand-in
            continue
    return Recorder()


class Recorder:
    """The engine. One object serves one file, in a process of its own."""

    version = ""
    exact = False
    files: tuple[str, ...] = ()
    welcome = frozenset(_HEAVY)
    """what a job may ask to have imported for the next ones"""

    def place(self, root: str, dags: str, plugins: str | None) -> None:
        """Say where this deployment's folders are."""
        self._root, self._dags = root, dags
        self._plugins = plugins or os.path.join(root, "plugins")

    def parse(self, path: str, told: str = "") -> tuple[list[Any], list[dict[str, str]]]:
        """(DAGs sorted by id, errors) of a file; ``told`` is the version of Airflow it is for, or ""."""
        try:
            with open(path, "rb") as file:
                source = file.read()
        except OSError as error:
            return [], [_error(error)]
        text = source.decode("utf-8", "replace")
        self._by = "requirements" if told and not told.startswith(era.LIKELY) else "imports"
        era.choose(told, text)
        surroundings.conf.place(self._root, self._dags, self._plugins)
        self._missing = finder.install(self._root, self._folders(path))
        surroundings.watch_environment(self._root)
        patches.install(self._root)
        before = self._state()
        found, errors = self._attempts(path, source, before)
        told, own = era.version, era.pick(*era.bounds(text))
        if errors and era.release(own) != era.release(told):
            # What it is deployed with cannot import it. It was written for something.
            kept = found, errors, notes.keep()
            self._restore(before)
            era.choose(own, text)
            found, errors = self._attempts(path, source, before)
            if errors:
                found, errors, noted = kept
                notes.bring_back(noted)
            else:
                notes.guess(f"Airflow {told}, which the commit is for, does not import it")
                self._by = "imports"
        return sorted(found, key=lambda one: str(one.dag_id)), errors

    def _attempts(
        self, path: str, source: bytes, before: _State
    ) -> tuple[list[Any], list[dict[str, str]]]:
        """Run a file with placeholders, then with less and less, until it does not fail."""
        if not era.at_least(2, 0):
            for name, value in (
                ("unicode", str),
                ("basestring", str),
                ("long", int),
                ("xrange", range),
            ):
                setattr(builtins, name, value)
        placeholders.compared.clear()
        found, errors = self._run(path, source, "placeholder")
        first = found, errors, notes.keep()
        for attempt in placeholders.LATER_ATTEMPTS:
            # Something was made up, and the file cannot live with it.
            if not errors or not (notes.placeholders or (attempt == "tolerant" and notes.guesses)):
                break
            if attempt == "choice" and not placeholders.compared:
                continue
            self._restore(before)
            if attempt == "tolerant":
                patches.install_moments()
            found, errors = self._run(path, source, attempt)
        if errors:  # no attempt is better than the first, whose error speaks of the names
            found, errors, noted = first
            notes.bring_back(noted)
        elif placeholders.attempt in ("empty", "none"):
            what = "an empty string" if placeholders.attempt == "empty" else "None"
            notes.guess(f"what is missing is {what}: the file cannot live with placeholders")
        return found, errors

    def describe(self, dag: Any, root: str, path: str) -> dict[str, Any]:
        """What the job answers of one DAG."""
        guesses = [f"written for Airflow {era.version}, by its {self._by}"]
        return {
            "document": describe.dag(dag, root, path),
            "airflow": None,
            "guesses": [*guesses, *notes.guesses],
            "placeholders": list(notes.placeholders),
        }

    # ── running ───────────────────────────────────────────────────────────────────────────

    def _run(
        self, path: str, source: bytes, attempt: str
    ) -> tuple[list[Any], list[dict[str, str]]]:
        placeholders.attempt = attempt
        notes.clear()
        graph.Context.clear()
        setups.Scope.open.clear()
        stem = re.sub(r"\W", "_", os.path.splitext(os.path.basename(path))[0])
        name = f"unusual_prefix_{hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()}_{stem}"
        loader = finder.SourceLoader(name, path)
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        linecache.checkcache(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = compile(source, path, "exec", dont_inherit=True)
                exec(code, module.__dict__)
        except BaseException as error:
            return [], [_error(error)]
        found: dict[str, Any] = {}
        errors = []
        for dag in self._dags_of(module):
            try:
                _no_cycle(dag)
                _setups_are_sound(dag)
                found[str(dag.dag_id)] = dag
            except BaseException as error:
                errors.append(_error(error))
        return list(found.values()), errors

    def _dags_of(self, module: Any) -> list[Any]:
        """DAGs under a global name; from 2.4 on, those entered too. SubDAGs are DAGs of their own."""
        tops = [value for value in list(module.__dict__.values()) if isinstance(value, DAG)]
        if era.at_least(2, 4):
            tops += [dag for dag in graph.Context.entered.values() if dag.auto_register]
        found: dict[int, Any] = {}
        while tops:
            dag = tops.pop(0)
            if id(dag) not in found:
                found[id(dag)] = dag
                tops += dag.subdags
        return list(found.values())

    def _folders(self, path: str) -> list[str]:
        """Where helper modules may lie: plugins, and every folder from the file up to the root."""
        beside = os.path.join(os.path.dirname(self._dags), "plugins")
        found = [
            self._plugins,
            beside,
            *(os.path.join(self._root, n) for n in ("src", "include", "lib")),
        ]
        folder = os.path.dirname(path)
        while len(folder) > len(self._root):
            found.append(folder)
            folder = os.path.dirname(folder)
        return [one for one in found if os.path.isdir(one)]

    # ── trying again ──────────────────────────────────────────────────────────────────────

    def _state(self) -> _State:
        return set(sys.modules), list(sys.path), dict(os.environ), os.getcwd()

    def _restore(self, state: _State) -> None:
        """Forget what the repository's code imported and changed, so that it runs anew."""
        modules, path, environ, folder = state
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            ours = isinstance(sys.modules[name], standin.StandInModule)
            if ours or file.startswith(self._root) or name.startswith("unusual_prefix_"):
                del sys.modules[name]
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(folder)


def _no_cycle(dag: Any) -> None:
    """Raises where edges lead back; the words are Airflow's."""
    waiting = {key: len(task.upstream_task_ids) for key, task in dag.task_dict.items()}
    ready = [key for key, count in waiting.items() if count == 0]
    done = 0
    while ready:
        key = ready.pop()
        done += 1
        for below in dag.task_dict[key].downstream_task_ids:
            if below in waiting:
                waiting[below] -= 1
                if waiting[below] == 0:
                    ready.append(below)
    if done < len(waiting):
        key = next(key for key, count in waiting.items() if count > 0)
        raise AirflowDagCycleException(f"Cycle detected in DAG: {dag.dag_id}. Faulty task: {key}")


def _setups_are_sound(dag: Any) -> None:
    """Raises where work after a setup would also run when that failed, as Airflow does."""
    for task in dag.task_dict.values():
        if not task.is_setup:
            continue
        for key in task.downstream_task_ids:
            below = dag.task_dict.get(key)
            if below is not None and not below.is_teardown and below.trigger_rule != "all_success":
                raise ValueError("Setup tasks must be followed with trigger rule ALL_SUCCESS.")


class AirflowDagCycleException(graph.AirflowException):
    """Tasks that wait for each other."""


_PYTHON_2 = re.compile(
    r"Missing parentheses in call to '(?:print|exec)'|multiple exception types must be parenthesized|"
    r"leading zeros in decimal integer literals|inconsistent use of tabs|invalid hexadecimal literal|"
    r"invalid decimal literal|expected ':'|invalid syntax"
)
_PYTHON_2_SOURCE = re.compile(
    r"^\s*print\s+[\"'\w]|^\s*except\s+[\w.]+\s*,\s*\w+\s*:|\b0[0-7]+\b(?!\.)|<>|^\s*exec\s+[\"'\w]|\bur?['\"]|^\s*raise\s+\w+\s*,",
    re.M,
)


def _error(error: BaseException) -> dict[str, str]:
    kind, message = type(error).__name__, str(error)
    if isinstance(error, SyntaxError):
        place = f" ({os.path.basename(error.filename or '')}, line {error.lineno})"
        message = f"{error.msg}{place}"
        if _is_python_2(error):
            kind, message = "Python2", f"this is Python 2: {message}"
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return {"type": kind, "message": message or kind, "traceback": "".join(lines)[-20_000:]}


def _is_python_2(error: SyntaxError) -> bool:
    if isinstance(error, TabError):
        return True
    if not _PYTHON_2.search(error.msg or ""):
        return False
    try:
        with open(str(error.filename), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    line = lines[(error.lineno or 1) - 1] if len(lines) >= (error.lineno or 1) else ""
    return bool(_PYTHON_2_SOURCE.search(line))
