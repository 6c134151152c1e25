"""Two revisions beside each other: which DAGs came, went and changed; of one DAG, in what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gitdags.catalog import NoSuchDag
from gitdags.errors import GitdagsError, quoted
from gitdags.model import Comparison, DagComparison, DagDiff, Json
from gitdags.web import graph as graphs
from gitdags.web.answers import Rendered
from gitdags.web.drawing import Options
from gitdags.web.pages.dag import svg
from gitdags.web.pages.place import BadParameter, Place, brief, parameter, pretty
from gitdags.web.renderer import CannotRender
from gitdags.web.views import view

_LARGEST = 400_000  # bytes of a file past which it is not shown beside another
_FILES = 12  # files of one DAG that are shown beside each other


@dataclass(frozen=True, slots=True)
class Pair:
    """A field that differs: both values in one line, or lines with what changed in them."""

    name: str
    old: str
    new: str
    hunks: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class FilePair:
    """A file on both sides."""

    old: str | None
    new: str | None
    hunks: Sequence[Any]
    added: int = 0
    removed: int = 0
    why: str = ""
    """why nothing is shown"""


def compare(request: Request) -> Response:
    """All DAGs of two revisions, or one of them."""
    with view(request) as v:
        old = parameter(request, "from")
        new = parameter(request, "to") or parameter(request, "at") or "HEAD"
        place = Place(v, request, new)
        way = parameter(request, "view") or "split"
        if way not in ("split", "unified"):
            raise BadParameter("view is neither split nor unified")
        if old is None:
            return place.answer("compare_begin.html", (), lambda: {"new": new}, tab="compare")
        before = v.catalog.resolve(place.repo, old)
        v.ready(place.repo, before)
        place.ready()
        dag_id = parameter(request, "dag")
        if dag_id is not None and not v.sees_dag(place.repo.name, dag_id):
            raise NoSuchDag(f"there is no DAG {quoted(dag_id)}", hint="gitdags ls")
        state = v.catalog.index_state(place.repo)

        def make() -> dict[str, Any]:
            found = v.catalog.compare(place.repo, before.commit, place.sha, parse=False)
            told: dict[str, Any] = {
                "old": old,
                "new": new,
                "before": v.catalog.commit(place.repo, before),
                "warnings": before.warnings,
                "found": found,
                "groups": _groups(place, found),
                "changed": [
                    one for one in found.changed if v.sees_dag(place.repo.name, one.dag_id)
                ],
                "stat": stat,
                "way": way,
                "dag_id": dag_id,
                "one": None,
            }
            if dag_id is not None:
                told["one"] = _one(place, v.catalog.compare_dag(
                    place.repo, before.commit, place.sha, dag_id), before.commit, dag_id)  # fmt: skip
            return told

        depends = (old, before.commit, new, way, dag_id, state)
        return place.answer("compare.html", depends, make, tab="compare")


def _groups(place: Place, found: Comparison) -> list[tuple[str, str, list[str]]]:
    """(word, sign, DAGs) of those that came or went whole."""
    each = (
        ("added", "+", found.added),
        ("removed", "\N{MINUS SIGN}", found.removed),
        ("failed", "!", found.failed),
        ("fixed", "\N{CHECK MARK}", found.fixed),
    )
    told = []
    for word, sign, names in each:
        seen = [name for name in names if place.v.sees_dag(place.repo.name, name)]
        if seen:
            told.append((word, sign, seen))
    return told


def stat(one: DagDiff) -> list[str]:
    """What changed in a DAG, in a few words each."""
    if one.code_only:
        return ["code only"]
    told = []
    for noun, added, removed, changed in (
        ("task", one.tasks_added, one.tasks_removed, one.tasks_changed),
        ("edge", one.edges_added, one.edges_removed, one.edges_changed),
        ("group", one.groups_added, one.groups_removed, one.groups_changed),
    ):
        signs = [
            f"{sign}{len(part)}"
            for sign, part in (("+", added), ("\N{MINUS SIGN}", removed), ("~", changed))
            if part
        ]
        if signs:
            total = len(added) + len(removed) + len(changed)
            told.append(f"{' '.join(signs)} {noun}{'s' if total != 1 else ''}")
    if one.attributes:
        n = len(one.attributes)
        told.append(f"~{n} attribute{'s' if n != 1 else ''}")
    return told


def _one(place: Place, found: DagComparison, old_commit: str, dag_id: str) -> dict[str, Any]:
    """Everything about one DAG on both sides."""
    request = place.request
    only = request.query_params.get("changed") == "1"
    fold = tuple(sorted(set(request.query_params.getlist("fold"))))[:500]
    options = Options(fold=fold, down=request.query_params.get("down") == "1")
    documents = [
        {"tasks": [], "groups": [], "edges": []} if s is None else s.document
        for s in (found.old, found.new)
    ]
    drawn = graphs.union(documents[0], documents[1], found.diff, fold=fold, changed_only=only)
    hashes = tuple(None if s is None else s.row.dag_hash for s in (found.old, found.new))
    return {
        "dag_id": dag_id,
        "sides": found,
        "diff": found.diff,
        "stat": stat(found.diff),
        "drawn": drawn,
        "only": only,
        "options": options,
        "svg": svg(place, ("union", hashes, only), drawn, options, dag_id, selects=False),
        "attributes": _pairs(place, found.diff.attributes),
        "tasks": [(name, _pairs(place, f)) for name, f in found.diff.tasks_changed.items()],
        "task_groups": [(name, _pairs(place, f)) for name, f in found.diff.groups_changed.items()],
        "files": _files(place, found, old_commit),
    }


def _pairs(place: Place, fields: Mapping[str, tuple[Json, Json]]) -> list[Pair]:
    told = []
    for name, (was, now) in fields.items():
        before, after = _text(was), _text(now)
        if "\n" in before or "\n" in after or len(before) + len(after) > 160:
            texts = isinstance(was, str) or isinstance(now, str)
            kind = "py" if _callable(was) or _callable(now) else "txt" if texts else "json"
            hunks = _changes(place, f"x.{kind}", before, after)
            told.append(Pair(name, "", "", hunks["hunks"] if hunks else ()))
        else:
            told.append(Pair(name, before, after))
    return told


def _callable(value: Json) -> bool:
    return isinstance(value, dict) and value.keys() == {"name", "source"}


def _text(value: Json) -> str:
    """Source as source, text as text, all else as JSON."""
    if _callable(value):
        return f"{value['source']}" if value["source"] else str(value["name"])
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return brief(value)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) < 80 else pretty(value)


def _changes(place: Place, name: str, old: str, new: str) -> Any:
    try:
        return place.v.site.renderer.call("changes", name, old, new)
    except CannotRender:
        return None


def _files(place: Place, found: DagComparison, old_commit: str) -> list[FilePair]:
    """The files that the DAG reads and that differ, its own first."""
    catalog = place.v.catalog
    read = [{} if s is None else dict(catalog.files_read(s.row)) for s in (found.old, found.new)]
    own = tuple(None if s is None else s.row.file for s in (found.old, found.new))
    pairs: list[tuple[str | None, str | None]] = []
    if own[0] is not None and own[1] is not None and own[0] != own[1]:
        pairs.append((own[0], own[1]))  # moved
    taken = {name for pair in pairs for name in pair}
    names = sorted(read[0].keys() | read[1].keys(), key=lambda n: (n not in own, n))
    for name in names:
        if name not in taken and read[0].get(name) != read[1].get(name):
            pairs.append((name if name in read[0] else None, name if name in read[1] else None))
    return [_file(place, old_commit, *pair) for pair in pairs[:_FILES]]


def _file(place: Place, old_commit: str, old: str | None, new: str | None) -> FilePair:
    sides = []
    for path, commit in ((old, old_commit), (new, place.sha)):
        try:
            data = b"" if path is None else place.v.catalog.source(
                place.repo, path, place.v.catalog.resolve(place.repo, commit))  # fmt: skip
        except GitdagsError as error:
            return FilePair(old, new, (), why=error.message)
        sides.append(data)
    if any(b"\0" in data[:8_000] for data in sides):
        return FilePair(old, new, (), why="not text")
    if any(len(data) > _LARGEST for data in sides):
        return FilePair(old, new, (), why=f"larger than {_LARGEST:,} bytes")

    def make() -> Rendered:
        texts = [data.decode("utf-8", "surrogateescape") for data in sides]
        return Rendered(json.dumps(_changes(place, new or old or "", *texts)).encode())

    key = ("changes", (new or old or "").rpartition(".")[2], *map(_digest, sides))
    shown = json.loads(place.v.site.pages.made(key, make).body)
    if shown is None:
        return FilePair(old, new, (), why="comparing them took too long")
    return FilePair(old, new, shown["hunks"], shown["added"], shown["removed"])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
