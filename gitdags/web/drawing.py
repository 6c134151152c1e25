"""A graph as SVG: laid out by `gitdags.layout`, coloured by classes and attributes, never by style.

Every node is a link, so that a picture works without a script; every id and text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
_EDGE = 16  # room around the drawing, pixels
SIGNS = {"added": "+", "removed": "−", "changed": "~"}

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
    groups = [[c.id, c.parent, width(c.title, _TITLE) + 34] for c in shown.clusters]
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
    texts = width(node.title, _TITLE) * 1.04, width(_second(node), _DETAIL)
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


_MARKERS = (
    "<defs>"
    + "".join(
        f'<marker id="arrow{suffix}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse"><path d="M0 .6 7.4 4 0 7.4z"/></marker>'
        for suffix, kind in (
            ("", "edge"),
            ("-added", "added"),
            ("-removed", "removed"),
            ("-changed", "changed"),
        )
    )
    + "</defs>"
)


def _cluster(cluster: graph.Cluster, area: layout.Rectangle, fold: Fold | None) -> str:
    x, y, w, h = area
    sign = (
        f'<text class="sign" x="{_n(x + w - 14)}" y="{_n(y + 16)}">{SIGNS[cluster.mark]}</text>'
        if cluster.mark
        else ""
    )
    name = escaped(fitted(cluster.title, 12, max(w - 40, 30)))
    text = f'<text class="title" x="{_n(x + 12)}" y="{_n(y + 17)}">{name}</text>'
    if fold is not None:
        text = (
            f'<a class="fold" href="{escaped(fold(cluster.id))}" data-group="{escaped(cluster.id)}" '
            f'tabindex="-1"><title>Fold {escaped(cluster.id)}</title>'
            f'<rect class="hit" x="{_n(x + 2)}" y="{_n(y + 2)}" width="{_n(max(w - 4, 0))}" height="22" rx="6"/>'
            f'<path class="chevron" d="M{_n(x + 9)} {_n(y + 10.5)}l3.5 4 3.5 -4"/>'
            f'<text class="title" x="{_n(x + 22)}" y="{_n(y + 17)}">{name}</text></a>'
        )
    return (
        f'<g class="cluster {cluster.mark}"><rect class="area" x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" '
        f'height="{_n(h)}" rx="10"/>{text}{sign}</g>'
    )


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
    suffix = f"-{edge.mark}" if edge.mark else ""
    parts = [
        f'<path class="edge {edge.mark}" data-e="{numbers[edge.start]} {numbers[edge.end]}" '
        f'd="M{_n(x)} {_n(y)}{kind}{rest}" marker-end="url(#arrow{suffix})"/>'
    ]
    label = fitted(edge.label, _LABEL, 160)
    middle = points[len(points) // 2]
    if edge.mark:
        place = at or middle
        text = f"{SIGNS[edge.mark]} {label}".strip()
        parts.append(
            f'<text class="label {edge.mark}" x="{_n(place[0])}" y="{_n(place[1] + 4)}">{escaped(text)}</text>'
        )
    elif label:
        place = at or middle
        parts.append(
            f'<text class="label" x="{_n(place[0])}" y="{_n(place[1] + 4)}">{escaped(label)}</text>'
        )
    return "".join(parts)


def _node(
    node: Node, centre: layout.Point, number: int, link: Link | None, fold: Fold | None
) -> str:
    w = _width(node)
    x, y = centre[0] - w / 2, centre[1] - _HEIGHT / 2
    fill, ink = ("", "") if node.tasks else colour.pair(node.fill, node.ink)
    paint = f' fill="{fill}"' if fill else ""
    room = w - _PAD + 8 - (18 if node.mark or node.tasks else 0)
    left = _n(x + 13)
    ink_of = f' fill="{ink}"' if ink else ""
    parts = []
    if node.mapped or node.tasks:  # one of many: others show from behind
        parts.append(
            f'<rect class="behind" x="{_n(x + 4)}" y="{_n(y + 4)}" width="{_n(w)}" height="{_n(_HEIGHT)}" rx="8"{paint}/>'
        )
    parts += [
        f'<rect class="box" x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(_HEIGHT)}" rx="8"{paint}/>',
        f'<text class="name" x="{left}" y="{_n(y + 19)}"{ink_of}>{escaped(fitted(node.title, _TITLE, room))}</text>',
        f'<text class="detail" x="{left}" y="{_n(y + 34)}"{ink_of}>{escaped(fitted(_second(node), _DETAIL, room))}</text>',
    ]
    if node.mark:
        cx, cy = _n(x + w - 14), _n(y + 14)
        parts.append(
            f'<circle class="badge" cx="{cx}" cy="{cy}" r="8"/>'
            f'<text class="sign" x="{cx}" y="{_n(y + 18)}">{SIGNS[node.mark]}</text>'
        )
    elif node.tasks:
        cx, cy = x + w - 16, y + _HEIGHT / 2
        parts.append(f'<path class="chevron" d="M{_n(cx - 2)} {_n(cy - 4)}l4 4 -4 4"/>')
    kinds = " ".join(filter(None, ("node", node.mark, "folded" if node.tasks else "")))
    name = graph.group_of(node.id) if node.tasks else node.id
    told = ", ".join(
        filter(None, (name, node.detail, node.badge, "mapped" if node.mapped else "", node.mark))
    )
    body = f"<title>{escaped(told)}</title>" + "".join(parts)
    if node.tasks:
        where = fold(name) if fold is not None else ""
        what = f'data-group="{escaped(name)}"'
    else:
        where = link(node) if link is not None else ""
        what = f'data-task="{escaped(name)}"'
    if not where:
        return f'<g class="{kinds}" id="n{number}">{body}</g>'
    first = "0" if number == 0 else "-1"
    return (
        f'<a class="{kinds}" id="n{number}" {what} href="{escaped(where)}" tabindex="{first}" '
        f'aria-label="{escaped(told)}">{body}</a>'
    )


def _n(value: float) -> str:
    """A number as short as it can be: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")
