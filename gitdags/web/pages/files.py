"""Files and folders of a commit, straight from Git: highlighted, with anchors, and who wrote each line."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from gitdags.catalog import NoSuchFile
from gitdags.errors import GitdagsError, quoted
from gitdags.git import display
from gitdags.model import MODE_LINK, MODE_SUBMODULE, Commit
from gitdags.web.answers import Rendered
from gitdags.web.highlight import MOST, split
from gitdags.web.pages.place import Place, number
from gitdags.web.renderer import CannotRender
from gitdags.web.text import escaped
from gitdags.web.urls import path as quote_path
from gitdags.web.views import view

LINES = 5_000
"""Most lines of one page; the rest is a link further."""
_LONGEST = 5_000  # characters of a line that are shown


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file."""

    number: int
    code: Markup
    commit: Commit | None = None
    begins: bool = False
    """whether the line before is of another commit"""


def source(request: Request) -> Response:
    """A file or a folder at a revision."""
    with view(request) as v:
        place = Place(v, request)
        if not v.site.access.may_read_files(v.who, place.repo.name):
            raise NoSuchFile("this repository's files are not shown to you", hint="gitdags ls")
        path: str = request.path_params["path"].strip("/")
        raw = path.encode("utf-8", "surrogateescape")
        opened = v.catalog.opened(place.repo)
        found = opened.follow(place.commit.tree, raw)
        if found is None:
            raise NoSuchFile(
                f"there is no {quoted(display(raw))} at {place.sha[:12]}",
                hint=f"git ls-tree -r --name-only {place.sha[:12]}",
                near=_near(place, raw),
            )
        crumbs = _crumbs(place, path)
        if found[1].is_tree:
            return place.answer(
                "folder.html", (), lambda: _folder(place, path, crumbs), tab="files"
            )
        if not found[1].is_file:
            raise NoSuchFile(
                f"{quoted(display(raw))} is a submodule; its files are in another repository",
                hint=f"git ls-tree {place.sha[:12]}",
            )
        blame = request.query_params.get("blame") == "1"
        first = number(request, "from", 1, 10_000_000)

        def make() -> dict[str, Any]:
            told = source_view(place, path, place.sha, blame=blame, first=first)
            return {"crumbs": crumbs, "file": path, "blame": blame, **told}

        return place.answer("source.html", (), make, tab="files")


def _crumbs(place: Place, path: str) -> list[tuple[str, str]]:
    parts = path.split("/") if path else []
    return [
        (display(part.encode("utf-8", "surrogateescape")),
         place.urls.source(place.repo.name, "/".join(parts[: i + 1]), at=place.at))
        for i, part in enumerate(parts)
    ]  # fmt: skip


def _folder(place: Place, path: str, crumbs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    entries = []
    for one in place.v.catalog.folder(place.repo, path, place.resolved):
        inner = (path + "/" if path else "").encode("utf-8", "surrogateescape") + one.name
        kind = "folder" if one.entry.is_tree else "file"
        if one.entry.mode == MODE_LINK:
            kind = "link"
        elif one.entry.mode == MODE_SUBMODULE:
            kind = "submodule"
        target = ""
        if kind == "link":
            target = display(place.v.catalog.opened(place.repo).blob(one.entry.oid))
        where = (
            None if kind == "submodule" else place.urls.source(place.repo.name, inner, at=place.at)
        )
        entries.append((display(one.name), kind, one.size, where, target, one.entry.oid))
    return {"entries": entries, "crumbs": crumbs, "path": path}


def _near(place: Place, path: bytes) -> list[str]:
    """Files whose names are like the one asked for."""
    opened = place.v.catalog.opened(place.repo)
    names: list[str] = []
    try:
        for found, _ in opened.walk(place.commit.tree):
            names.append(display(found))
            if len(names) >= 20_000:
                break
    except GitdagsError:
        return []
    wanted = display(path)
    same = [n for n in names if n.rpartition("/")[2] == wanted.rpartition("/")[2]]
    return [*same[:3], *difflib.get_close_matches(wanted, names, 5)][:5]


def source_view(
    place: Place, path: str, commit: str, *, blame: bool, first: int = 1
) -> dict[str, Any]:
    """What the template of a file needs: its lines, or why there are none."""
    catalog = place.v.catalog
    data = catalog.source(place.repo, path, catalog.resolve(place.repo, commit))
    told: dict[str, Any] = {
        "size": len(data),
        "raw": place.urls.api(place.repo.name, "source/" + quote_path(path), at=commit),
        "lines": (),
        "binary": False,
        "whole": 0,
        "next": None,
        "previous": None,
        "lossy": False,
        "commit_of_code": commit,
        "blame_failed": False,
    }
    if b"\0" in data[:8_000]:
        return told | {"binary": True}
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "surrogateescape")  # shown as \xNN
        told["lossy"] = True
    markup = _markup(place, path, text, first)
    whole = data.count(b"\n") + (0 if not data or data.endswith(b"\n") else 1)
    owners: Sequence[Commit | None] = ()
    if blame:
        try:
            owners = catalog.line_commits(place.repo, commit, path)
        except GitdagsError:
            told["blame_failed"] = True
    lines, before = [], None
    for i, code in enumerate(markup, first):
        owner = owners[i - 1] if i <= len(owners) else None
        lines.append(Line(i, Markup(code), owner, owner is not None and owner != before))  # noqa: S704 - escaped
        before = owner
    if first + LINES <= whole:
        told["next"] = place.here(**{"from": str(first + LINES)})
    if first > 1:
        told["previous"] = place.here(
            **{"from": str(max(1, first - LINES)) if first > LINES else None}
        )
    return told | {"lines": lines, "whole": whole}


def _markup(place: Place, path: str, text: str, first: int) -> list[str]:
    """Lines of a page, highlighted where the file is not too large; kept by what the file holds."""
    if len(text) > MOST:
        part = split(text)[first - 1 : first - 1 + LINES]
        return [escaped(line[:_LONGEST]) + ("…" if len(line) > _LONGEST else "") for line in part]

    def make() -> Rendered:
        try:
            shown: list[str] = place.v.site.renderer.call("highlight", path, text)
        except CannotRender:
            shown = [escaped(line) for line in split(text)]
        return Rendered("\n".join(shown).encode())

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    found = place.v.site.pages.made(("code", path.rpartition(".")[2], digest), make)
    lines = found.body.decode().split("\n") if text else []
    return lines[first - 1 : first - 1 + LINES]
