"""Airflow's configuration and the process's environment, as a DAG file sees them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from . import notes, placeholders, standin, things
from .callers import is_ours

_UNSET = object()

# ── configuration ─────────────────────────────────────────────────────────────────────────────


class Configuration:
    """``conf``: what the environment says, a few values every Airflow has, the fallback."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], str] = {}
        self.places: dict[str, Any] = {}
        """what ``airflow.settings`` holds"""

    def place(self, root: str, dags: str, plugins: str) -> None:
        """Say where things are."""
        self.places = {
            "AIRFLOW_HOME": root,
            "DAGS_FOLDER": dags,
            "PLUGINS_FOLDER": plugins,
            "TIMEZONE": things.UTC,
        }
        self.known = {
            ("core", "dags_folder"): dags, ("core", "plugins_folder"): plugins,
            ("core", "airflow_home"): root,
            ("core", "executor"): "LocalExecutor", ("core", "default_timezone"): "utc",
            ("core", "unit_test_mode"): "False", ("core", "parallelism"): "32",
            ("webserver", "base_url"): "http://localhost:8080", ("api", "base_url"): "http://localhost:8080",
            ("logging", "base_log_folder"): os.path.join(root, "logs"),
            ("core", "base_log_folder"): os.path.join(root, "logs"),
            ("operators", "default_owner"): "airflow", ("operators", "default_queue"): "default",
            ("kubernetes", "namespace"): "default", ("kubernetes_executor", "namespace"): "default",
        }  # fmt: skip

    def get(self, section: Any, key: Any = None, fallback: Any = _UNSET, **_: Any) -> Any:
        """A value as text."""
        section, key = str(section).lower(), str(key).lower()
        found = os.environ.get(f"AIRFLOW__{section.upper()}__{key.upper()}")
        if found is None:
            found = self.known.get((section, key))
        if found is not None:
            return found
        if fallback is not _UNSET:
            return fallback
        notes.missing("configuration", f"{section}.{key}")
        return placeholders.stand_for("conf", f"{section}.{key}")

    get_mandatory_value = get

    def getboolean(self, section: Any, key: Any, fallback: Any = False, **_: Any) -> bool:
        """A value as a boolean."""
        return str(self.get(section, key, fallback)).lower() in ("1", "true", "t", "yes")

    def getint(self, section: Any, key: Any, fallback: Any = 0, **_: Any) -> int:
        """A value as an integer."""
        return int(self.get(section, key, fallback))

    def getfloat(self, section: Any, key: Any, fallback: Any = 0, **_: Any) -> float:
        """A value as a number."""
        return float(self.get(section, key, fallback))

    def getjson(self, section: Any, key: Any, fallback: Any = None, **_: Any) -> Any:
        """A value as JSON."""
        found = self.get(section, key, fallback)
        return json.loads(found) if isinstance(found, str) and found[:1] in "[{" else found

    def has_option(self, section: Any, key: Any, **_: Any) -> bool:
        """Whether there is a value."""
        return self.get(section, key, None) is not None

    def getsection(self, section: Any) -> Mapping[str, Any]:
        """Nothing: sections are not kept whole."""
        return {}

    as_dict = getsection

    def set(self, *_: Any, **__: Any) -> None:
        """Nothing is kept."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return standin.value(f"conf.{name}")


conf = Configuration()


# ── environment ───────────────────────────────────────────────────────────────────────────────


def watch_environment(root: str) -> None:
    """Have ``os.environ`` answer the repository's own code with placeholders for what is missing."""
    root = os.path.realpath(root) + os.sep
    kind: Any = type(os.environ)
    plain_item = kind.__getitem__

    def item(self: Any, key: Any) -> Any:
        try:
            return plain_item(self, key)
        except KeyError:
            if self is not os.environ or not is_ours(sys._getframe(1), root):
                raise
            notes.missing("environment", key)
            found = placeholders.stand_for("env", key)
            return "" if found is None else found

    def get(self: Any, key: Any, default: Any = None) -> Any:
        try:
            return plain_item(self, key)
        except KeyError:
            if default is None and self is os.environ and is_ours(sys._getframe(1), root):
                notes.missing("environment", key)
                # Who asks so is prepared for None; only a file that is not gets something else.
                return (
                    None
                    if placeholders.attempt == "placeholder"
                    else placeholders.stand_for("env", key)
                )
            return default

    def contains(self: Any, key: Any) -> bool:
        try:
            plain_item(self, key)
        except (KeyError, TypeError):
            return False
        return True

    kind.__getitem__, kind.__contains__, kind.get = item, contains, get
