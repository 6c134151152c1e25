"""What is drawn of a document: boxes, edges, groups; folded, filtered, or two of them in one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gitdags.labels import operator_name
from gitdags.model import DagDiff

Mark = Literal["", "added", "removed", "changed"]
Document = Mapping[str, Any]
ALL = "*"
"""Among the groups to fold: every one."""


@dataclass(frozen=True, slots=True)
class Node:
    """A task, or a group folded into one box."""

    id: str
    title: str
    """its name inside its group"""
    detail: str
    fill: str
    ink: str
    group: str | None
    mapped: bool = False
    mark: Mark = ""
    badge: str = ""
    """setup, teardown, or a trigger rule that is not the usual one"""
    tasks: int = 0
    """of a folded group; 0 for a task"""


@dataclass(frozen=True, slots=True)
class Edge:
    """From one box to another."""

    start: str
    end: str
    label: str = ""
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A task group that is open."""

    id: str
    parent: str | None
    title: str
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """All that is drawn."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    clusters: tuple[Cluster, ...]
    hidden: int = 0
    """tasks left out by a filter"""
    marks: Mapping[str, int] = field(default_factory=dict)


def of(
    document: Document,
    *,
    fold: Iterable[str] = (),
    only: str | None = None,
    way: str = "both",
) -> Graph:
    """The graph of a document; with ``only`` no more than that task and what is ``up``, ``down`` or both."""
    parents = {g["group_id"]: g.get("parent") for g in document["groups"]}
    nodes = [_node(task, parents) for task in document["tasks"]]
    ids = {node.id for node in nodes}
    edges = [Edge(a, b, label or "") for a, b, label in document["edges"] if a in ids and b in ids]
    clusters = [
        Cluster(g["group_id"], g.get("parent"), g.get("label") or g["group_id"])
        for g in document["groups"]
    ]
    whole = Graph(tuple(nodes), tuple(edges), tuple(_open(clusters, nodes, parents)))
    if only is not None:
        whole = _around(whole, only, way)
    return _folded(whole, parents, set(fold))


def union(
    old: Document,
    new: Document,
    diff: DagDiff,
    *,
    fold: Iterable[str] = (),
    changed_only: bool = False,
) -> Graph:
    """One graph of two documents, each part marked as what the difference says of it."""
    tasks = {t["task_id"]: t for t in old["tasks"]} | {t["task_id"]: t for t in new["tasks"]}
    groups = {g["group_id"]: g for g in old["groups"]} | {g["group_id"]: g for g in new["groups"]}
    parents = {name: g.get("parent") for name, g in groups.items()}
    marks: dict[str, Mark] = dict.fromkeys(diff.tasks_changed, "changed")
    marks.update(dict.fromkeys(diff.tasks_added, "added"))
    marks.update(dict.fromkeys(diff.tasks_removed, "removed"))
    of_groups: dict[str, Mark] = dict.fromkeys(diff.groups_changed, "changed")
    of_groups |= dict.fromkeys(diff.groups_added, "added")
    of_groups |= dict.fromkeys(diff.groups_removed, "removed")
    nodes = [
        replace(_node(tasks[name], parents), mark=marks.get(name, "")) for name in sorted(tasks)
    ]
    added, removed = set(diff.edges_added), set(diff.edges_removed)
    changed = {(a, b): (was, now) for a, b, was, now in diff.edges_changed}
    labels = {(a, b): label for a, b, label in (*old["edges"], *new["edges"])}
    edges = []
    for a, b in sorted(labels):
        if a not in tasks or b not in tasks:
            continue
        mark: Mark = "added" if (a, b) in added else "removed" if (a, b) in removed else ""
        label = labels[a, b] or ""
        if (a, b) in changed:
            was, now = changed[a, b]
            mark, label = "changed", f"{was or '∅'} → {now or '∅'}"
        edges.append(Edge(a, b, label, mark))
    clusters = [
        Cluster(name, g.get("parent"), g.get("label") or name, of_groups.get(name, ""))
        for name, g in sorted(groups.items())
    ]
    whole = Graph(tuple(nodes), tuple(edges), tuple(_open(clusters, nodes, parents)))
    if changed_only:
        keep = {n.id for n in nodes if n.mark}
        keep |= {end for e in edges if e.mark for end in (e.start, e.end)}
        whole = _kept(whole, keep)
    return _folded(whole, parents, set(fold))


def _node(task: Mapping[str, Any], groups: Mapping[str, str | None]) -> Node:
    group = task.get("group")
    group = group if group in groups else None
    name = task["task_id"]
    inner = name.removeprefix(f"{group}.") if group else name
    attrs = task.get("attrs") or {}
    words = [word for word in ("setup", "teardown") if attrs.get(f"is_{word}")]
    if task.get("trigger_rule", "all_success") != "all_success" and not words:
        words.append(task["trigger_rule"])
    return Node(
        name,
        inner or name,
        operator_name(str(task.get("operator") or "")),
        str(task.get("ui_color") or ""),
        str(task.get("ui_fgcolor") or ""),
        group,
        bool(task.get("mapped")),
        badge=" ".join(words),
    )


def _open(
    clusters: Sequence[Cluster], nodes: Sequence[Node], parents: Mapping[str, str | None]
) -> list[Cluster]:
    """The groups that hold a task, at any depth; one that lies in itself, or in none, is let go."""
    used: set[str] = set()
    for node in nodes:
        chain = above(node.group, parents)
        used.update(chain)
    return [
        replace(c, parent=c.parent if c.parent in used else None) for c in clusters if c.id in used
    ]


def above(group: str | None, parents: Mapping[str, str | None]) -> list[str]:
    """A group and those it lies in, innermost first; ends where it would go round."""
    chain: list[str] = []
    while group is not None and group in parents and group not in chain:
        chain.append(group)
        group = parents[group]
    return chain


def _around(graph: Graph, task: str, way: str) -> Graph:
    """A task with all that leads to it and all it leads to."""
    if task not in {node.id for node in graph.nodes}:
        return graph
    keep = {task}
    for side in ("up", "down"):
        if way not in (side, "both"):
            continue
        next_to: dict[str, list[str]] = {}
        for edge in graph.edges:
            here, there = (edge.end, edge.start) if side == "up" else (edge.start, edge.end)
            next_to.setdefault(here, []).append(there)
        stack, seen = [task], {task}
        while stack:
            for name in next_to.get(stack.pop(), ()):
                if name not in seen:
                    seen.add(name)
                    stack.append(name)
        keep |= seen
    return _kept(graph, keep)


def _kept(graph: Graph, keep: set[str]) -> Graph:
    nodes = tuple(node for node in graph.nodes if node.id in keep)
    edges = tuple(e for e in graph.edges if e.start in keep and e.end in keep)
    parents = {c.id: c.parent for c in graph.clusters}
    clusters = tuple(_open(graph.clusters, nodes, parents))
    return Graph(nodes, edges, clusters, len(graph.nodes) - len(nodes))


def _folded(graph: Graph, parents: Mapping[str, str | None], fold: set[str]) -> Graph:
    """The same with some groups as one box each; edges between the same two boxes are one."""
    marks = _counted(graph)
    if not fold or not graph.clusters:
        return replace(graph, marks=marks)
    clusters = {c.id: c for c in graph.clusters}
    shown: dict[str, str] = {}  # task -> the box it is in
    boxes: dict[str, list[Node]] = {}
    for node in graph.nodes:
        chain = [g for g in above(node.group, parents) if g in clusters]
        outermost = next((g for g in reversed(chain) if g in fold or ALL in fold), None)
        shown[node.id] = node.id if outermost is None else _box(outermost)
        if outermost is not None:
            boxes.setdefault(outermost, []).append(node)
    gone = {c for c in clusters if any(g in boxes for g in above(c, parents))}
    left = tuple(c for c in graph.clusters if c.id not in gone)
    open_ones = {c.id for c in left}
    nodes = [node for node in graph.nodes if shown[node.id] == node.id]
    for name, inside in boxes.items():
        cluster = clusters[name]
        said = {node.mark for node in inside} - {""}
        mark = cluster.mark or (
            "" if not said else next(iter(said)) if len(said) == 1 else "changed"
        )
        if mark in ("added", "removed") and any(node.mark != mark for node in inside):
            mark = "changed"
        count = f"{len(inside)} task" + ("s" if len(inside) != 1 else "")
        parent = cluster.parent if cluster.parent in open_ones else None
        nodes.append(
            Node(_box(name), cluster.title, count, "", "", parent, mark=mark, tasks=len(inside))
        )
    merged: dict[tuple[str, str], list[Edge]] = {}
    for edge in graph.edges:
        pair = shown[edge.start], shown[edge.end]
        if pair[0] != pair[1]:
            merged.setdefault(pair, []).append(edge)
    edges = []
    for (start, end), found in merged.items():
        marks_here = {edge.mark for edge in found}
        mark = next(iter(marks_here)) if len(marks_here) == 1 else "changed"
        label = found[0].label if len(found) == 1 else ""
        edges.append(Edge(start, end, label, mark))
    return Graph(tuple(nodes), tuple(edges), left, graph.hidden, marks)


def _box(group: str) -> str:
    """The id of a folded group's box, which no task has."""
    return f"{group}/"


def group_of(box: str) -> str:
    """The group that such a box stands for."""
    return box[:-1]


def _counted(graph: Graph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for mark in (*(n.mark for n in graph.nodes), *(e.mark for e in graph.edges)):
        if mark:
            counts[mark] = counts.get(mark, 0) + 1
    return counts
