"""What differs between two documents of one DAG. Pure: two JSON documents in, a `DagDiff` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitdags.model import DagDiff, Json
from gitdags.serialize.document import same

# Told apart by their own lists, or the same by definition.
_NOT_ATTRIBUTES = {"schema", "dag_id", "tasks", "groups", "edges"}
# A task's neighbours are edges; telling them twice would bury what changed.
_NOT_TASK_FIELDS = {"task_id", "upstream", "downstream"}
_NESTED = {"attrs", "templated", "callbacks", "params", "default_args"}

Pair = tuple[Json, Json]


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> DagDiff:
    """The difference between two documents; fields of `attrs` and the like are ``attrs.retries``."""
    before = {task["task_id"]: task for task in old["tasks"]}
    after = {task["task_id"]: task for task in new["tasks"]}
    tasks_changed = {}
    for task_id in sorted(before.keys() & after.keys()):
        fields = _fields(before[task_id], after[task_id], _NOT_TASK_FIELDS)
        if fields:
            tasks_changed[task_id] = fields
    edges_before = {(a, b): label for a, b, label in old["edges"]}
    edges_after = {(a, b): label for a, b, label in new["edges"]}
    both = edges_before.keys() & edges_after.keys()
    groups_before = {group["group_id"]: group for group in old["groups"]}
    groups_after = {group["group_id"]: group for group in new["groups"]}
    groups_changed = {}
    for group_id in sorted(groups_before.keys() & groups_after.keys()):
        fields = _fields(groups_before[group_id], groups_after[group_id], {"group_id"})
        if fields:
            groups_changed[group_id] = fields
    return DagDiff(
        dag_id=new["dag_id"],
        attributes=_fields(old, new, _NOT_ATTRIBUTES),
        tasks_added=tuple(sorted(after.keys() - before.keys())),
        tasks_removed=tuple(sorted(before.keys() - after.keys())),
        tasks_changed=tasks_changed,
        edges_added=tuple(sorted(edges_after.keys() - edges_before.keys())),
        edges_removed=tuple(sorted(edges_before.keys() - edges_after.keys())),
        edges_changed=tuple(
            (a, b, edges_before[a, b], edges_after[a, b])
            for a, b in sorted(both)
            if edges_before[a, b] != edges_after[a, b]
        ),
        groups_added=tuple(sorted(groups_after.keys() - groups_before.keys())),
        groups_removed=tuple(sorted(groups_before.keys() - groups_after.keys())),
        groups_changed=groups_changed,
    )


def _fields(old: Mapping[str, Any], new: Mapping[str, Any], without: set[str]) -> dict[str, Pair]:
    """field -> (old, new) where they differ; one level into the fields that hold others."""
    found: dict[str, Pair] = {}
    for name in sorted((old.keys() | new.keys()) - without):
        was, now = old.get(name), new.get(name)
        if same(was, now):
            continue
        if name in _NESTED and isinstance(was, dict) and isinstance(now, dict):
            for key in sorted(was.keys() | now.keys()):
                if not same(was.get(key), now.get(key)):
                    found[f"{name}.{key}"] = (was.get(key), now.get(key))
        else:
            found[name] = (was, now)
    return found
