"""A graph as SVG: laid out by `gitdags.layout`, coloured by classes and attributes, never by style.

Every node is a link, so that a picture works without a script; every id and text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitdags import layout
from gitdags.model import Json
from gitdags.web import colour, graph
from gitdags.web.assets import assets
from gitdags.web.graph import Document, Graph, Node
from gitdags.web.renderer import Renderer
from gitdags.web.text import escaped, fitted, width

MOST_NODES, MOST_EDGES = 3_000, 8_000
"""Past these a picture says nothing any more; tasks are then in the table only."""
_TITLE, _DETAIL, _BADGE, _LABEL = 13.0, 11.0, 10.0, 11.0  # font sizes
_HEIGHT, _LEAST, _MOST, _PAD = 44.0, 84.0, 280.0, 26.0
_GROUP = 12.0
_BOLD = 1.1  # how much wider bold text is
_EDGE = 16  # room around the drawing, pixels
SIGNS = {"added": "+", "removed": "\N{MINUS SIGN}", "changed": "~"}


def _n(value: float) -> str:
    """A number as short as it can be: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


def _el(name: str, body: str = "", **attributes: str | float | None) -> str:
    """An element around markup; values are escaped, ``klass`` is class, ``_`` is ``-``, None left out."""
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            text = escaped(value) if isinstance(value, str) else _n(value)
            key = "class" if key == "klass" else key if key in _CAMEL else key.replace("_", "-")
            parts.append(f'{key}="{text}"')
    return f"<{' '.join(parts)}>{body}</{name}>" if body else f"<{' '.join(parts)}/>"


_CAMEL = frozenset({"viewBox", "refX", "refY", "markerWidth", "markerHeight"})


Link = Callable[[Node], str]
Fold = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Options:
    """How a graph is shown; part of its cache key."""

    fold: tuple[str, ...] = ()
    only: str | None = None
    way: str = "both"
    down: bool = False


def draw(
    renderer: Renderer,
    shown: Graph,
    *,
    down: bool = False,
    link: Link | None = None,
    fold: Fold | None = None,
    title: str = "",
) -> str:
    """The SVG element. Raises CannotRender; '' for a graph without nodes or with too many.

    ``link`` gives the address of a node, ``fold`` that of the page with a group folded (or opened).
    """
    if not shown.nodes or len(shown.nodes) > MOST_NODES or len(shown.edges) > MOST_EDGES:
        return ""
    boxes = [[n.id, _width(n), _HEIGHT, n.group] for n in shown.nodes]
    lines = [[e.start, e.end, _label_width(e.label)] for e in shown.edges]
    groups = [[c.id, c.parent, width(c.title, _GROUP) * _BOLD + 34] for c in shown.clusters]
    answer: Json = renderer.call("layout", boxes, lines, groups, down)
    return _svg(shown, layout.from_json(answer), link, fold, title)


def alone(renderer: Renderer, document: Document, options: Options) -> str:
    """A document's graph as a picture that needs no page around it."""
    shown = graph.of(document, fold=options.fold, only=options.only, way=options.way)
    svg = draw(renderer, shown, down=options.down, title=str(document.get("dag_id", "")))
    if not svg:
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1" viewBox="0 0 1 1"></svg>'
        )
    begin, _, rest = svg.partition(">")
    style = assets()["graph.css"].body.decode()
    return f"{begin}><style>{style}</style>{rest}"


def _width(node: Node) -> float:
    extra = 18 if node.mark or node.tasks else 0
    texts = width(node.title, _TITLE) * _BOLD, width(_second(node), _DETAIL)
    return round(min(_MOST, max(_LEAST, *texts, 0) + _PAD + extra), 1)


def _second(node: Node) -> str:
    badge = f" · {node.badge}" if node.badge else ""
    return f"{node.detail}{badge}"


def _label_width(label: str) -> float:
    return width(fitted(label, _LABEL, 160), _LABEL) + 10 if label else 0


def _svg(
    shown: Graph, placed: layout.Placed, link: Link | None, fold: Fold | None, title: str
) -> str:
    w, h = placed.width + 2 * _EDGE, placed.height + 2 * _EDGE
    numbers = {node.id: i for i, node in enumerate(shown.nodes)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" role="group" '
        f'aria-label="{escaped(_summary(shown, title))}" viewBox="0 0 {_n(w)} {_n(h)}" '
        f'width="{_n(w)}" height="{_n(h)}">',
        _MARKERS,
        f'<g transform="translate({_EDGE} {_EDGE})">',
    ]
    depth = _depths(shown)
    for cluster in sorted(shown.clusters, key=lambda c: depth[c.id]):
        if cluster.id in placed.groups:
            parts.append(_cluster(cluster, placed.groups[cluster.id], fold))
    for edge, points, at in zip(shown.edges, placed.lines, placed.labels, strict=True):
        parts.append(_edge(edge, points, at, numbers))
    for node in shown.nodes:
        parts.append(_node(node, placed.nodes[node.id], numbers[node.id], link, fold))
    parts.append("</g></svg>")
    return "".join(parts)


def _summary(shown: Graph, title: str) -> str:
    count = f"{len(shown.nodes)} boxes and {len(shown.edges)} edges"
    return f"Graph of {title}: {count}; the table has the same as text"


def _depths(shown: Graph) -> dict[str, int]:
    parents = {c.id: c.parent for c in shown.clusters}
    return {name: len(graph.above(name, parents)) for name in parents}


_MARKERS = _el(
    "defs",
    "".join(
        _el(
            "marker",
            '<path d="M0 .6 7.4 4 0 7.4z"/>',
            id=f"arrow-{kind}",
            klass=kind,
            viewBox="0 0 8 8",
            refX="7",
            refY="4",
            markerWidth="7",
            markerHeight="7",
            orient="auto-start-reverse",
        )
        for kind in ("edge", *SIGNS)
    ),
)


def _cluster(cluster: graph.Cluster, area: layout.Rectangle, fold: Fold | None) -> str:
    x, y, w, h = area
    name = escaped(fitted(cluster.title, _GROUP, max(w - 44, 30)))
    parts = [_el("rect", klass="area", x=x, y=y, width=w, height=h, rx="10")]
    if fold is None:
        parts.append(_el("text", name, klass="title", x=x + 12, y=y + 17))
    else:
        body = (
            _el("title", f"Fold {escaped(cluster.id)}")
            + _el("rect", klass="hit", x=x + 2, y=y + 2, width=max(w - 4, 0), height="22", rx="6")
            + _el("path", klass="chevron", d=f"M{_n(x + 9)} {_n(y + 10.5)}l3.5 4 3.5 -4")
            + _el("text", name, klass="title", x=x + 22, y=y + 17)
        )
        where = {"href": fold(cluster.id), "data-group": cluster.id, "tabindex": "-1"}
        parts.append(_el("a", body, klass="fold", **where))
    if cluster.mark:
        parts.append(_el("text", SIGNS[cluster.mark], klass="sign", x=x + w - 14, y=y + 16))
    return _el("g", "".join(parts), klass=f"cluster {cluster.mark}".strip())


def _edge(
    edge: graph.Edge,
    points: Sequence[layout.Point],
    at: layout.Point | None,
    numbers: Mapping[str, int],
) -> str:
    if len(points) < 2:
        return ""
    rest = " ".join(f"{_n(x)} {_n(y)}" for x, y in points[1:])
    (x, y), kind = points[0], "C" if len(points) % 3 == 1 else "L"
    line = _el(
        "path",
        klass=f"edge {edge.mark}".strip(),
        data_e=f"{numbers[edge.start]} {numbers[edge.end]}",
        d=f"M{_n(x)} {_n(y)}{kind}{rest}",
        marker_end=f"url(#arrow-{edge.mark or 'edge'})",
    )
    text = f"{SIGNS.get(edge.mark, '')} {fitted(edge.label, _LABEL, 160)}".strip()
    if not text:
        return line
    place = at or points[len(points) // 2]
    klass = f"label {edge.mark}".strip()
    return line + _el("text", escaped(text), klass=klass, x=place[0], y=place[1] + 4)


def _node(
    node: Node, centre: layout.Point, number: int, link: Link | None, fold: Fold | None
) -> str:
    w = _width(node)
    x, y = centre[0] - w / 2, centre[1] - _HEIGHT / 2
    fill, ink = (None, None) if node.tasks else colour.pair(node.fill, node.ink)
    box: dict[str, Any] = {"width": w, "height": _HEIGHT, "rx": "8", "fill": fill}
    room = w - _PAD + 8 - (18 if node.mark or node.tasks else 0)
    name = graph.group_of(node.id) if node.tasks else node.id
    words = (name, node.detail, node.badge, "mapped" if node.mapped else "", node.mark)
    told = escaped(", ".join(filter(None, words)))
    parts = [_el("title", told)]
    if node.mapped or node.tasks:  # one of many: another shows from behind
        parts.append(_el("rect", klass="behind", x=x + 4, y=y + 4, **box))
    title = fitted(node.title, _TITLE * _BOLD, room)
    second = fitted(_second(node), _DETAIL, w - _PAD + 8)
    parts += [
        _el("rect", klass="box", x=x, y=y, **box),
        _el("text", escaped(title), klass="name", x=x + 13, y=y + 19, fill=ink),
        _el("text", escaped(second), klass="detail", x=x + 13, y=y + 34, fill=ink),
    ]
    if node.mark:
        parts.append(_el("circle", klass="badge", cx=x + w - 14, cy=y + 14, r="8"))
        parts.append(_el("text", SIGNS[node.mark], klass="sign", x=x + w - 14, y=y + 18))
    elif node.tasks:
        path = f"M{_n(x + w - 18)} {_n(y + _HEIGHT / 2 - 4)}l4 4 -4 4"
        parts.append(_el("path", klass="chevron", d=path))
    kinds = " ".join(filter(None, ("node", node.mark, "folded" if node.tasks else "")))
    make = fold if node.tasks else link
    where = "" if make is None else make(name) if node.tasks else make(node)  # type: ignore[arg-type]
    if not where:
        return _el("g", "".join(parts), klass=kinds, id=f"n{number}")
    what = {"data-group" if node.tasks else "data-task": name, "href": where}
    first = "0" if number == 0 else "-1"
    body = "".join(parts)
    return _el("a", body, klass=kinds, id=f"n{number}", tabindex=first, **what)
