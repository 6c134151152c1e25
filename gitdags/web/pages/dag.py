"""A DAG at a revision: its graph, its code, its history, its document."""

from __future__ import annotations

import difflib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from gitdags.catalog import NoSuchFile
from gitdags.errors import quoted
from gitdags.model import Json, ListedDag
from gitdags.serialize.document import select
from gitdags.web import drawing
from gitdags.web import graph as graphs
from gitdags.web.answers import HTML, Rendered, send
from gitdags.web.drawing import Options
from gitdags.web.markdown import rendered
from gitdags.web.pages.files import source_view
from gitdags.web.pages.place import (
    BadParameter,
    Place,
    brief,
    number,
    parameter,
    pretty,
    render,
)
from gitdags.web.pages.repository import facts
from gitdags.web.renderer import CannotRender
from gitdags.web.text import escaped
from gitdags.web.urls import query
from gitdags.web.views import view

_WAYS = ("up", "down", "both")
_PAGE = 100


@dataclass(frozen=True)
class Shown:
    """A DAG at a place, as the heading of its pages shows it."""

    place: Place
    row: ListedDag
    others: Sequence[str]
    """other files of the commit that define a DAG of this name"""
    stale_from: str | None = None
    """the commit the document is of, where the DAG fails at this one"""

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The JSON; read when first asked for, as a page that is known needs none."""
        found: Mapping[str, Any] = json.loads(self.place.v.catalog.document_text(self.row.dag_hash))
        return found

    @property
    def key(self) -> tuple[Any, ...]:
        """What it depends on."""
        row = self.row
        return (row.dag_id, row.file, row.dag_hash, row.code_hash, row.environment,
                self.stale_from, tuple(self.others))  # fmt: skip

    @property
    def code_commit(self) -> str:
        """The commit whose files belong to the document."""
        return self.stale_from or self.place.sha

    def answer(self, template: str, tab: str, depends: tuple[Any, ...], make: Any) -> Response:
        """A page of this DAG."""

        def values() -> Mapping[str, Any]:
            return {"shown": self, "dag": self.document, "row": self.row,
                    "facts": facts(self.document), "section": tab, **make()}  # fmt: skip

        return self.place.answer(template, (self.key, depends), values, tab="dags")


def shown_at(place: Place) -> Shown:
    """The DAG of the address. Raises NoSuchDag, BeingIndexed or NotIndexed."""
    dag_id = place.dag_id()
    rows = place.v.catalog.rows(place.repo, place.resolved, place.ready(), dag_id)
    if rows:
        return Shown(place, rows[0], [row.file for row in rows[1:]])
    found = place.v.catalog.document(place.repo, dag_id, place.resolved, parse=False)
    return Shown(place, found.row, (), found.stale_from)


# ── graph ─────────────────────────────────────────────────────────────────────────────────


def graph(request: Request) -> Response:
    """The graph, a table of its tasks, and one task in full."""
    with view(request) as v:
        place = Place(v, request)
        shown = shown_at(place)
        options = _options(request)
        task_id = parameter(request, "task")
        if request.query_params.get("part") == "panel":
            body = render("panel.html", request, place=place, shown=shown, **_panel(shown, task_id))
            return send(request, body.encode(), HTML, commit=place.sha)
        return shown.answer("graph.html", "graph", (), lambda: _graph(shown, options, task_id))


def _options(request: Request) -> Options:
    way = parameter(request, "way") or "both"
    if way not in _WAYS:
        raise BadParameter(f"way is none of {', '.join(_WAYS)}")
    fold = tuple(sorted(set(request.query_params.getlist("fold"))))[:500]
    down = request.query_params.get("down") == "1"
    return Options(fold, parameter(request, "only"), way, down)


def _graph(shown: Shown, options: Options, task_id: str | None) -> dict[str, Any]:
    place, document = shown.place, shown.document
    needle = (parameter(place.request, "q") or "").lower()
    drawn = graphs.of(document, fold=options.fold, only=options.only, way=options.way)
    kept = {node.id for node in drawn.nodes}
    folded = set(_outermost(drawn))
    parents = {g["group_id"]: g.get("parent") for g in document["groups"]}
    tasks = []
    for task in document["tasks"]:
        inside = task["task_id"] in kept or folded.intersection(
            graphs.above(task.get("group"), parents)
        )
        if inside and needle in task["task_id"].lower():
            tasks.append(task)
    return {
        "svg": svg(place, (shown.row.dag_hash,), drawn, options, str(document["dag_id"])),
        "options": options,
        "drawn": drawn,
        "tasks": tasks,
        "needle": needle,
        "too_large": len(drawn.nodes) > drawing.MOST_NODES or len(drawn.edges) > drawing.MOST_EDGES,
        "doc": rendered(document.get("doc_md")),
        **_panel(shown, task_id),
    }


_BASE = f"b{secrets.token_hex(8)}b"
"""Stands in a kept drawing for the parameters of the page it is put into; nobody can guess it."""


def svg(
    place: Place,
    key: tuple[Any, ...],
    drawn: graphs.Graph,
    options: Options,
    title: str,
    *,
    selects: bool = True,
) -> Markup | None:
    """A drawing whose links lead to this page with a task chosen, or a group folded or opened.

    ``key``: what the graph is a function of, beside the options. None where it cannot be drawn.
    """
    given = {n: parameter(place.request, n) for n in place.request.query_params if n not in _OURS}
    base = query(**given).removeprefix("?")

    def folding(names: set[str]) -> str:
        return query(fold=sorted(names)).removeprefix("?")

    def fold(name: str) -> str:
        now = set(options.fold)
        if graphs.ALL in now:
            now = set(_outermost(drawn))
        return f"?{_BASE}{folding(now ^ {name})}"

    def link(node: graphs.Node) -> str:
        folded = folding(set(options.fold))
        return f"?{_BASE}{folded}{'&' if folded else ''}{query(task=node.id).removeprefix('?')}"

    def make() -> Rendered:
        text = drawing.draw(
            place.v.site.renderer,
            drawn,
            down=options.down,
            link=link if selects else None,
            fold=fold,
            title=title,
        )
        return Rendered(text.encode())

    try:
        found = place.v.site.pages.made(("svg", *key, options, selects), make)
    except CannotRender:
        return None
    text = found.body.decode().replace(_BASE, escape(base + "&" if base else ""))
    return Markup(text) if text else None  # noqa: S704 - drawing escapes all that is not its own


_OURS = frozenset({"fold", "task", "part"})


def _outermost(drawn: graphs.Graph) -> list[str]:
    return [graphs.group_of(node.id) for node in drawn.nodes if node.tasks]


# ── one task ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Field:
    """A row of the panel: a value in one line, or lines of code."""

    name: str
    value: str = ""
    code: tuple[Markup, ...] = ()


def _panel(shown: Shown, task_id: str | None) -> dict[str, Any]:
    """Everything that the document says of a task."""
    if task_id is None:
        return {"task": None, "missing": None}
    task = next((t for t in shown.document["tasks"] if t["task_id"] == task_id), None)
    if task is None:
        names = [t["task_id"] for t in shown.document["tasks"]]
        near = difflib.get_close_matches(task_id, names, 5)
        return {"task": None, "missing": (task_id, near)}
    return {
        "task": task,
        "missing": None,
        "doc_of_task": rendered(task.get("doc_md")),
        "templated": _fields(shown.place, task.get("templated")),
        "attrs": _fields(shown.place, task.get("attrs")),
        "callbacks": _fields(shown.place, task.get("callbacks")),
    }


def _fields(place: Place, values: Json) -> list[Field]:
    if not isinstance(values, dict):
        return []
    found: list[Field] = []
    code: list[tuple[int, str, str]] = []
    for name, value in sorted(values.items()):
        source = _source_of(str(name), value)
        if source is not None:
            code.append((len(found), *source))
        found.append(Field(str(name), "" if source else brief(value)))
    for (at, _, _), lines in zip(
        code, pieces(place, [(name, text) for _, name, text in code]), strict=True
    ):
        name = found[at].name
        title = values[name]["name"] if _is_callable(values[name]) else ""
        found[at] = Field(name, title, tuple(lines))
    return found


def _is_callable(value: Json) -> bool:
    return isinstance(value, dict) and value.keys() == {"name", "source"}


def _source_of(name: str, value: Json) -> tuple[str, str] | None:
    """(a file name that tells the language, text) of what is best read as code."""
    if _is_callable(value):
        return ("x.py", value["source"]) if isinstance(value["source"], str) else None
    if isinstance(value, str):
        if "\n" not in value and len(value) < 60:
            return None
        kind = next((k for word, k in _LANGUAGES if word in name.lower()), "txt")
        return f"x.{kind}", value
    if isinstance(value, (dict, list)) and len(json.dumps(value)) > 60:
        return "x.json", pretty(value)
    return None


_LANGUAGES = (("bash", "sh"), ("command", "sh"), ("sql", "sql"), ("hql", "sql"), ("query", "sql"),
              ("python", "py"), ("html", "html"), ("yaml", "yaml"), ("json", "json"))  # fmt: skip


def pieces(place: Place, items: Sequence[tuple[str, str]]) -> list[list[Markup]]:
    """The highlighted lines of some texts; plain where that takes too long."""
    if not items:
        return []
    try:
        found: list[list[str]] = place.v.site.renderer.call("pieces", [list(i) for i in items])
    except CannotRender:
        found = [[escaped(line) for line in text.split("\n")] for _, text in items]
    return [[Markup(line) for line in lines] for lines in found]  # noqa: S704 - escaped by both


# ── code ──────────────────────────────────────────────────────────────────────────────────


def code(request: Request) -> Response:
    """The DAG's file, and every file of the repository that was read when it was parsed."""
    with view(request) as v:
        place = Place(v, request)
        shown = shown_at(place)
        row = shown.row
        read = [path for path, _ in v.catalog.files_read(row)] or [row.file]
        file = parameter(request, "file") or row.file
        if file not in read:
            near = difflib.get_close_matches(file, read, 5) or read[:5]
            raise NoSuchFile(f"{quoted(file)} is none of the files this DAG reads", near=near)
        blame = request.query_params.get("blame") == "1"
        first = number(request, "from", 1, 10_000_000)

        def make() -> dict[str, Any]:
            told = source_view(place, file, shown.code_commit, blame=blame, first=first)
            ordered = sorted(read, key=lambda p: (p != row.file, p))
            return {"read": ordered, "file": file, "blame": blame, **told}

        return shown.answer("code.html", "code", (file, blame, first), make)


# ── history ───────────────────────────────────────────────────────────────────────────────


def history(request: Request) -> Response:
    """The commits at which it changed, and how; the runs that each version had."""
    with view(request) as v:
        place = Place(v, request)
        dag_id = place.dag_id()
        state = v.catalog.index_state(place.repo), v.catalog.runs_state()
        after = number(request, "after", 1, 1_000_000) if parameter(request, "after") else 0

        def make() -> dict[str, Any]:
            log = v.catalog.log(place.repo, dag_id, place.sha)
            page = log.versions[after : after + _PAGE]
            more = after + _PAGE if len(log.versions) > after + _PAGE else None
            return {
                "dag_id": dag_id,
                "log": log,
                "entries": list(zip(page, (*log.versions[after + 1:after + _PAGE + 1], None),
                                    strict=False)),
                "runs": v.catalog.runs_per_document(dag_id, {x.dag_hash for x in page if x.dag_hash}),
                "more": None if more is None else place.here(after=str(more)),
                "section": "history",
            }  # fmt: skip

        return place.answer("history.html", (state,), make, tab="dags")


# ── document ──────────────────────────────────────────────────────────────────────────────


def document(request: Request) -> Response:
    """The JSON that everything else here is made of."""
    with view(request) as v:
        place = Place(v, request)
        shown = shown_at(place)
        settings = v.catalog.settings(place.repo)

        def make() -> dict[str, Any]:
            told = select(shown.document, settings["include"], settings["exclude"])
            (lines,) = pieces(place, [("x.json", pretty(told))])
            return {"lines": lines}

        depends = (settings["include"], settings["exclude"])
        return shown.answer("document.html", "document", depends, make)
