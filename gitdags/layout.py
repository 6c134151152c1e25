"""A graph to coordinates, by Graphviz. Pure: same graph, same numbers. Knows nothing of DAGs or SVG.

Lengths are pixels, the origin is the upper left corner. Not to be called by two threads at once:
Graphviz keeps state of its own. The only importer of pygraphviz.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gitdags.model import Json

_INCH = 72.0  # Graphviz's points to its inch; a point is a pixel here
_CROSSED, _LINES, _EACH = 4_000, 3_000, 2
"""Ranks that all lines together may cross, lines, and lines into one box, for dot to route them all."""
_LARGE = 300  # boxes past which crossings are minimised for less long
_RIGHT, _BELOW = "LR", "TB"


class Box(NamedTuple):
    """A node to place."""

    id: str
    width: float
    height: float
    group: str | None = None


class Line(NamedTuple):
    """An edge to route; ``width`` is that of its label, 0 for none."""

    start: str
    end: str
    width: float = 0


class Group(NamedTuple):
    """Nodes that stand together; ``parent`` is the group it lies in."""

    id: str
    parent: str | None
    width: float
    """of its title"""


Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]
"""left, top, width, height"""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where everything is."""

    width: float
    height: float
    nodes: Mapping[str, Point]
    """centre of each"""
    lines: Sequence[Sequence[Point]]
    """of each edge, in the order given: where a cubic Bézier spline begins, then three points a piece"""
    labels: Sequence[Point | None]
    """centre of each edge's label"""
    groups: Mapping[str, Rectangle]


def place(
    boxes: Sequence[Box], lines: Sequence[Line], groups: Sequence[Group] = (), *, down: bool = False
) -> Placed:
    """Coordinates for a graph, left to right or top to bottom; it may have cycles.

    Raises ValueError for a line to no box, or a group that lies in itself.
    """
    if not boxes:
        return Placed(0, 0, {}, [], [], {})
    names = {box.id: f"n{i}" for i, box in enumerate(boxes)}
    titles = {group.id: f"cluster_{i}" for i, group in enumerate(groups)}
    for line in lines:
        if line.start not in names or line.end not in names:
            raise ValueError(f"a line leads to no box: {line.start!r} to {line.end!r}")
    graph = _graph(len(boxes), down)
    _fill(graph, boxes, groups, names, titles)
    ports = {"tailport": "s", "headport": "n"} if down else {"tailport": "e", "headport": "w"}
    routed = _routed([box.id for box in boxes], lines)
    for i in sorted(routed):
        line = lines[i]
        label = {"label": _blank(line.width, 16)} if line.width else {}
        graph.add_edge(names[line.start], names[line.end], key=f"e{i}", **label, **ports)
    graph.layout(prog="dot")
    found = _read(graph, boxes, lines, groups, names, titles, routed, down)
    graph.close()
    return found


def _routed(ids: Sequence[str], lines: Sequence[Line]) -> set[int]:
    """The lines, by place, that dot is given; the others are drawn straight from box to box.

    dot's time goes with the ranks that lines cross: a hub before a chain of 500 tasks took 17 s. All
    lines, unless they cross too many; then the short ones, a few for each box.
    """
    ranks = _ranks(ids, lines)
    spans = [abs(ranks[line.end] - ranks[line.start]) for line in lines]
    if sum(spans) <= _CROSSED and len(lines) <= _LINES:
        return set(range(len(lines)))
    room, taken = _CROSSED, set()
    into: dict[str, int] = dict.fromkeys(ids, 0)
    for i in sorted(range(len(lines)), key=lambda i: (spans[i], i)):
        room -= spans[i]
        if room < 0:
            break
        if into[lines[i].end] < _EACH:
            into[lines[i].end] += 1
            taken.add(i)
    return taken


def _ranks(ids: Sequence[str], lines: Sequence[Line]) -> dict[str, int]:
    """Each box's longest way from one that nothing leads to; what lies in a circle has rank 0."""
    below: dict[str, list[str]] = {name: [] for name in ids}
    waiting = dict.fromkeys(ids, 0)
    for line in lines:
        below[line.start].append(line.end)
        waiting[line.end] += 1
    ranks = dict.fromkeys(ids, 0)
    ready = [name for name in ids if not waiting[name]]
    while ready:
        name = ready.pop()
        for after in below[name]:
            ranks[after] = max(ranks[after], ranks[name] + 1)
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    return ranks


def _graph(size: int, down: bool) -> Any:
    import pygraphviz  # here, so that what only wants the types need not load Graphviz

    graph = pygraphviz.AGraph(directed=True, strict=False, name="g")
    graph.graph_attr.update(
        rankdir=_BELOW if down else _RIGHT,
        nodesep="0.22",
        ranksep="0.55",
        splines="true",
        margin="0",
    )
    if size > _LARGE:
        # dot's own limits on its network simplex and its crossing passes (dot(1), nslimit, mclimit).
        graph.graph_attr.update(nslimit="2", nslimit1="2", mclimit="0.3")
    graph.node_attr.update(shape="box", fixedsize="true", label="")
    graph.edge_attr.update(arrowhead="none", fontsize="12")
    return graph


def _fill(
    graph: Any,
    boxes: Sequence[Box],
    groups: Sequence[Group],
    names: Mapping[str, str],
    titles: Mapping[str, str],
) -> None:
    for box in boxes:
        graph.add_node(
            names[box.id], width=f"{box.width / _INCH:.4f}", height=f"{box.height / _INCH:.4f}"
        )
    members: dict[str, list[str]] = {group.id: [] for group in groups}
    parents = {group.id: group.parent for group in groups}
    for box in boxes:
        # To Graphviz a node of a cluster is one of those around it too; pygraphviz wants it said.
        group, seen = box.group, 0
        while group is not None and seen <= len(groups):
            members[group].append(names[box.id])
            group, seen = parents[group], seen + 1
    below: dict[str | None, list[Group]] = {}
    for one in groups:
        below.setdefault(one.parent, []).append(one)
    stack = [(graph, group) for group in below.get(None, ())]
    made = 0
    while stack:
        parent, inner = stack.pop()
        made += 1
        # A cluster's title is text of ours as wide as the one that is drawn later.
        cluster = parent.add_subgraph(
            members[inner.id],
            name=titles[inner.id],
            label=_blank(inner.width, 18),
            labeljust="l",
            margin="12",
        )
        stack += [(cluster, each) for each in below.get(inner.id, ())]
    if made < len(groups):
        raise ValueError("a group lies in itself, or in none that is there")


def _blank(width: float, height: float) -> str:
    """A label of that size: an HTML-like one, as text would be as wide as some font says."""
    size = f'FIXEDSIZE="TRUE" WIDTH="{max(1, round(width))}" HEIGHT="{round(height)}"'
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0"><TR><TD {size}></TD></TR></TABLE>>'


def _read(
    graph: Any,
    boxes: Sequence[Box],
    lines: Sequence[Line],
    groups: Sequence[Group],
    names: Mapping[str, str],
    titles: Mapping[str, str],
    routed: set[int],
    down: bool,
) -> Placed:
    left, bottom, right, top = _numbers(graph.graph_attr["bb"])
    rectangles = {}
    clusters = {cluster.name: cluster for cluster in _clusters(graph)}
    for group in groups:
        found = clusters.get(titles[group.id])
        bounds = found.graph_attr["bb"] if found is not None else ""
        if bounds:
            x0, y0, x1, y1 = _numbers(bounds)
            rectangles[group.id] = (x0 - left, top - y1, x1 - x0, y1 - y0)

    def point(text: str) -> Point:
        x, y = _numbers(text)[:2]
        return round(x - left, 1), round(top - y, 1)

    nodes = {box.id: point(graph.get_node(names[box.id]).attr["pos"]) for box in boxes}
    sizes = {box.id: (box.width, box.height) for box in boxes}
    splines: list[Sequence[Point]] = []
    labels: list[Point | None] = []
    for i, line in enumerate(lines):
        if i not in routed:
            splines.append(_direct(nodes, sizes, line, down))
            labels.append(None)
            continue
        edge = graph.get_edge(names[line.start], names[line.end], f"e{i}")
        parts = (edge.attr["pos"] or "").replace("\\\n", "").split(";")[0].split()
        ends = {part[0]: point(part[2:]) for part in parts if part[:2] in ("s,", "e,")}
        middle = [point(part) for part in parts if part[:2] not in ("s,", "e,")]
        if "e" in ends and middle:
            middle[-1] = ends["e"]
        splines.append(middle)
        labels.append(point(edge.attr["lp"]) if line.width and edge.attr["lp"] else None)
    return Placed(
        round(right - left, 1), round(top - bottom, 1), nodes, splines, labels, rectangles
    )


def _direct(
    nodes: Mapping[str, Point], sizes: Mapping[str, tuple[float, float]], line: Line, down: bool
) -> list[Point]:
    """One piece from the far side of a box to the near side of another."""
    (x0, y0), (x1, y1) = nodes[line.start], nodes[line.end]
    if down:
        y0, y1 = y0 + sizes[line.start][1] / 2, y1 - sizes[line.end][1] / 2
        bend = (y1 - y0) / 2
        return [(x0, y0), (x0, y0 + bend), (x1, y1 - bend), (x1, y1)]
    x0, x1 = x0 + sizes[line.start][0] / 2, x1 - sizes[line.end][0] / 2
    bend = (x1 - x0) / 2
    return [(x0, y0), (x0 + bend, y0), (x1 - bend, y1), (x1, y1)]


def _clusters(graph: Any) -> Iterator[Any]:
    stack = list(graph.subgraphs())
    while stack:
        cluster = stack.pop()
        yield cluster
        stack += cluster.subgraphs()


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.replace("\\\n", "").split(",")]


def place_json(boxes: Json, lines: Json, groups: Json, down: bool) -> Json:
    """`place`, for a process that speaks JSON."""
    found = place(
        [Box(*box) for box in boxes],
        [Line(*line) for line in lines],
        [Group(*group) for group in groups],
        down=down,
    )
    return {
        "width": found.width,
        "height": found.height,
        "nodes": found.nodes,
        "lines": found.lines,
        "labels": found.labels,
        "groups": found.groups,
    }


def from_json(found: Json) -> Placed:
    """What `place_json` gave, as `place` gives it."""
    return Placed(
        found["width"],
        found["height"],
        {name: tuple(point) for name, point in found["nodes"].items()},
        [[tuple(point) for point in line] for line in found["lines"]],
        [tuple(point) if point else None for point in found["labels"]],
        {name: tuple(rectangle) for name, rectangle in found["groups"].items()},
    )
