"""All repositories; one at a revision: its DAGs, its commits, where its refs were moved."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import orjson
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from gitdags.errors import GitdagsError
from gitdags.git import display, is_sha
from gitdags.model import Commit, CommitChanges, Json, ListedDag, Listing
from gitdags.web.answers import HTML, send
from gitdags.web.pages.place import (
    BadParameter,
    Place,
    indexing,
    number,
    parameter,
    render,
)
from gitdags.web.site import BeingIndexed, View
from gitdags.web.text import escaped
from gitdags.web.views import view
from gitdags.wire import moment

_SORTS = ("dag_id", "tasks", "schedule", "owner", "changed")
_PAGE = 50


@dataclass(frozen=True, slots=True)
class Facts:
    """What a list says of a DAG, out of its document."""

    schedule: str
    owners: tuple[str, ...]
    tags: tuple[str, ...]
    description: str


def facts(document: Json) -> Facts:
    """Of a document, whatever is in it."""
    return Facts(
        schedule_of(document),
        tuple(map(str, document.get("owners") or ())),
        tuple(map(str, document.get("tags") or ())),
        str(document.get("description") or ""),
    )


def schedule_of(document: Json) -> str:
    """In one line: the value, or what kind it is where it has none."""
    schedule = document.get("schedule") or {}
    value, kind = schedule.get("value"), str(schedule.get("type") or "none")
    if value is None:
        return "—" if kind == "none" else kind
    if isinstance(value, str):
        return value
    if kind == "timedelta" and isinstance(value, (int, float)):
        return f"every {timedelta(seconds=value)}".replace(", 0:00:00", "")
    return kind if len(repr(value)) > 60 else f"{kind}: {orjson.dumps(value).decode()}"


# ── all of them ───────────────────────────────────────────────────────────────────────────


def home(request: Request) -> Response:
    """Every repository that may be read, with its newest commit."""
    with view(request) as v:
        rows = [_summary(v, repo) for repo in v.repositories()]
        depends = tuple((r["repo"].name, r["sha"], r["error"], r["indexed"]) for r in rows)
        return send(
            request,
            lambda: render("home.html", request, rows=rows).encode(),
            HTML,
            depends=("home", v.urls.root, depends),
            cache=v.site.pages,
        )


def _summary(v: View, repo: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "repo": repo,
        "sha": None,
        "commit": None,
        "error": "",
        "indexed": False,
    }
    try:
        opened = v.catalog.opened(repo)
        branch = opened.default_branch()
        tip = opened.ref(branch) if branch else None
        if tip is None:
            return told | {"error": "no commit yet"}
        resolved = v.catalog.resolve(repo, tip)
        return told | {
            "sha": tip,
            "branch": (branch or "").removeprefix("refs/heads/"),
            "commit": opened.commit(tip),
            "refs": len(opened.refs()),
            "indexed": v.catalog.is_indexed(repo, resolved),
        }
    except GitdagsError as error:
        return told | {"error": error.message}


# ── one ───────────────────────────────────────────────────────────────────────────────────


def repository(request: Request) -> Response:
    """The DAGs of a commit; while it is being indexed, its files."""
    with view(request) as v:
        place = Place(v, request)
        try:
            indexed = place.ready()
        except BeingIndexed as error:
            return indexing(request, error.job, _dag_files(place))
        wanted = {name: parameter(request, name) for name in ("q", "tag", "owner", "sort")}
        if wanted["sort"] not in (None, *_SORTS):
            raise BadParameter(f"sort is none of {', '.join(_SORTS)}")
        depends = (
            indexed.environment.id,
            indexed.manifest,
            v.catalog.index_state(place.repo),
            v.catalog.runs_state(),
        )
        return place.answer(
            "repository.html",
            depends,
            lambda: _dags(place, v.catalog.dags(place.repo, place.resolved, parse=False), wanted),
            tab="dags",
        )


def _dags(place: Place, listing: Listing, wanted: dict[str, str | None]) -> dict[str, Any]:
    v = place.v
    latest = v.latest_runs([row.dag_id for row in listing.dags])
    rows = [row for row in listing.dags if v.sees_dag(listing.repo, row.dag_id)]
    known = v.facts({row.dag_hash for row in rows}, facts)
    changes, seen_all = v.catalog.last_changes(place.repo, place.sha)
    needle = (wanted["q"] or "").lower()
    shown = [
        row
        for row in rows
        if (not needle or needle in row.dag_id.lower() or needle in row.file.lower())
        and (wanted["tag"] is None or wanted["tag"] in known[row.dag_hash].tags)
        and (wanted["owner"] is None or wanted["owner"] in known[row.dag_hash].owners)
    ]
    sort = wanted["sort"] or "dag_id"
    oldest = datetime.min.replace(tzinfo=place.commit.committed_at.tzinfo)

    def changed_at(row: ListedDag) -> datetime:
        found = changes.get(row.dag_id)
        return found.committed_at if found is not None else oldest

    order: dict[str, Any] = {
        "dag_id": lambda r: r.dag_id,
        "tasks": lambda r: -r.tasks,
        "schedule": lambda r: known[r.dag_hash].schedule,
        "owner": lambda r: known[r.dag_hash].owners,
        "changed": lambda r: -changed_at(r).timestamp() if r.dag_id in changes else 0,
    }
    shown.sort(key=lambda r: (order[sort](r), r.dag_id))
    files = Counter(row.dag_id for row in rows)
    return {
        "complete": seen_all,
        "listing": listing,
        "rows": _at(
            place,
            "".join(
                _row(
                    place,
                    row,
                    known[row.dag_hash],
                    changes.get(row.dag_id),
                    latest.get(row.dag_id, ()),
                    files[row.dag_id] > 1,
                )
                for row in shown
            ),
        ),
        "shown": len(shown),
        "total": len(rows),
        "wanted": wanted,
        "sort": sort,
        "tags": sorted({tag for f in known.values() for tag in f.tags}),
        "owners": sorted({owner for f in known.values() for owner in f.owners}),
        "left_out": v.catalog.left_out(place.repo, place.resolved),
        "folder": v.catalog.history(place.repo).dags_folder,
    }


def _at(place: Place, rows: str) -> Markup:
    """Rows of this page."""
    return Markup(rows.replace(_AT, quote_plus(place.at, errors="surrogateescape")))  # noqa: S704 - escaped


_AT = f"a{secrets.token_hex(8)}a"  # stands in a kept row for the revision of the page


def _row(
    place: Place,
    row: ListedDag,
    known: Facts,
    changed: Commit | None,
    latest: Sequence[tuple[str, str]],
    twice: bool,
) -> str:
    """A row of the table, for any revision: `_AT` stands for it. Rendered once while it says the same."""
    key = ("row", place.urls.root, place.repo.name, row.dag_id, row.file, row.dag_hash, twice,
           changed and changed.sha, tuple(latest))  # fmt: skip
    return place.v.site.fragments.made(
        key,
        lambda: (
            render(
                "row.html",
                place.request,
                repo=place.repo.name,
                row=row,
                facts=known,
                twice=twice,
                at=_AT,
            )
            + _tail(place, row, changed, latest)
        ),
    )


def _tail(
    place: Place, row: ListedDag, changed: Commit | None, latest: Sequence[tuple[str, str]]
) -> str:
    """The cells that are another commit's, or other runs', next time. No template: a thousand a page."""
    name, at = place.repo.name, _AT
    cell = dots = ""
    if changed is not None:
        where = escaped(place.urls.dag(name, row.dag_id, "history", at=at))
        day = f"{changed.committed_at:%Y-%m-%d}"
        cell = (
            f'<a href="{where}"><time datetime="{moment(changed.committed_at)}" class="nowrap">{day}'
            f'</time></a> <span title="{escaped(changed.subject)}">{escaped(changed.author)}</span>'
        )
    if latest:
        where = escaped(place.urls.dag(name, row.dag_id, "runs", at=at))
        told = escaped(", ".join(state for _, state in latest))
        each = "".join(
            f'<span class="dot {state if state in _STATES else ""}" '
            f'title="{escaped(run_id)}: {escaped(state)}"></span>'
            for run_id, state in reversed(latest)
        )
        dots = f'<a class="dots" href="{where}" aria-label="Last runs, newest first: {told}">{each}</a>'
    return f'<td class="small quiet">{cell}</td><td>{dots}</td></tr>'


_STATES = frozenset({"success", "failed", "running"})


def _dag_files(place: Place) -> Sequence[str]:
    """What Git alone tells at once: the files of the DAGs folder."""
    folder = place.v.catalog.history(place.repo).dags_folder.encode()
    opened = place.v.catalog.opened(place.repo)
    entry = opened.find(place.commit.tree, folder)
    if entry is None or not entry.is_tree:
        return ()
    prefix = folder + b"/" if folder else b""
    found = []
    for path, one in opened.walk(entry.oid, prefix):
        if one.is_file and path.endswith(b".py"):
            found.append(display(path))
        if len(found) >= 500:
            break
    return found


# ── its history ───────────────────────────────────────────────────────────────────────────


def commits(request: Request) -> Response:
    """Commits along first parents, with the DAGs each changed."""
    with view(request) as v:
        place = Place(v, request)
        limit = number(request, "n", _PAGE, 200)
        after = parameter(request, "after")
        if after is not None and not is_sha(after):
            raise BadParameter("after is no full commit id")
        dag_id = parameter(request, "dag")
        start = v.catalog.resolve(place.repo, after) if after else place.resolved
        state = v.catalog.index_state(place.repo)

        def make() -> dict[str, Any]:
            found, more = v.catalog.changes(place.repo, start, limit=limit, dag_id=dag_id)
            return {
                "entries": [_seen(v, place.repo.name, one) for one in found],
                "more": None if more is None else place.here(after=more),
                "dag_id": dag_id,
            }

        return place.answer("commits.html", (state,), make, tab="commits")


def _seen(v: View, repo: str, one: CommitChanges) -> CommitChanges:
    """A commit with those of the DAGs it changed that the asker may see."""
    return replace(one, versions=tuple(x for x in one.versions if v.sees_dag(repo, x.dag_id)))


def deploys(request: Request) -> Response:
    """Recorded moves of refs."""
    with view(request) as v:
        place = Place(v, request)
        ref = parameter(request, "ref")
        found = v.catalog.deployments(place.repo, ref, limit=201)
        depends = (*tuple((d.ref, d.old, d.new, d.at, d.source) for d in found[:3]), len(found))

        def make() -> dict[str, Any]:
            opened = v.catalog.opened(place.repo)
            known = {
                sha: opened.commit(sha)
                for d in found
                for sha in (d.old, d.new)
                if sha is not None and opened.has(sha)
            }
            return {"moves": found[:200], "more": len(found) > 200, "known": known, "ref": ref}

        return place.answer("deploys.html", depends, make, tab="deploys")
