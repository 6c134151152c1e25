"""A DAG as Airflow executed it beside the same DAG as gitdags parsed it: where they differ. Pure.

Both are Airflow's own serialized JSON. What says where the file lay, or when it was parsed, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gitdags.model import Difference, Json

_PLACES = frozenset(
    ("fileloc", "relative_fileloc", "_processor_dags_folder", "bundle_name", "bundle_version",
     "last_parsed", "last_loaded", "_task_module")
)  # fmt: skip
_UNORDERED = frozenset(("tags", "downstream_task_ids", "upstream_task_ids", "template_fields",
                        "upstream_group_ids", "downstream_group_ids"))  # fmt: skip
_MOST = 200  # differences told; past that two DAGs have little in common


def differences(executed: Json, parsed: Json) -> list[Difference]:
    """Where the two differ, by path: ``tasks.load.retries``; at most 200."""
    found = []
    for difference in _compare("", _plain(executed), _plain(parsed)):
        found.append(difference)
        if len(found) >= _MOST:
            break
    return found


def _plain(serialized: Json) -> Json:
    """Airflow's JSON without its envelopes, tasks by id."""
    dag = serialized.get("dag", serialized) if isinstance(serialized, Mapping) else serialized
    plain = _unwrapped(dag)
    if isinstance(plain, Mapping) and isinstance(plain.get("tasks"), list):
        tasks = {
            str(task.get("task_id", number)): task
            for number, task in enumerate(plain["tasks"])
            if isinstance(task, Mapping)
        }
        return {**plain, "tasks": tasks}
    return plain


def _unwrapped(value: Json, name: str = "") -> Json:
    if isinstance(value, Mapping):
        if value.keys() == {"__type", "__var"}:
            return _unwrapped(value["__var"], name)
        return {key: _unwrapped(item, key) for key, item in value.items() if key not in _PLACES}
    if isinstance(value, list):
        items = [_unwrapped(item) for item in value]
        return sorted(items, key=repr) if name in _UNORDERED else items
    return value


def _compare(path: str, a: Any, b: Any) -> Iterator[Difference]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted({*a, *b}):
            yield from _compare(f"{path}.{key}" if path else str(key), a.get(key), b.get(key))
    elif a != b:
        yield Difference(path, a, b)
