"""Airflow and gitdags: the bundle, the plugin with its listener, and DAG objects out of the store.

Airflow's own processes import this package, so that it loads nothing by itself: names that need more
are looked up when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["GitDagsBundle", "load_dag", "load_file"]

_WHERE = {"GitDagsBundle": "bundle", "load_dag": "loader", "load_file": "loader"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
