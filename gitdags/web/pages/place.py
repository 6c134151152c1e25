"""Where a page stands: a repository at a revision; and what every page shares: templates, errors, files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from gitdags.browse_catalog import Indexed
from gitdags.catalog import NoSuchDag, NotIndexed
from gitdags.errors import GitdagsError, quoted
from gitdags.git import is_sha
from gitdags.labels import operator_name
from gitdags.model import Commit, Json, RegisteredRepository, Resolved
from gitdags.web.answers import (
    HTML,
    IMMUTABLE,
    NO_STORE,
    RETRY,
    Passing,
    error_headers,
    send,
)
from gitdags.web.assets import assets
from gitdags.web.indexer import Job
from gitdags.web.site import BeingIndexed, View
from gitdags.web.text import visible
from gitdags.web.urls import Urls, query
from gitdags.wire import moment

LONGEST = 1_024
"""Characters of a parameter that are looked at; longer ones name nothing."""


class BadParameter(GitdagsError):
    """A parameter of a page that says nothing to it."""

    http_status = 400


class NoSuchPage(GitdagsError):
    """No page is there."""

    http_status = 404


class Place:
    """A repository at a revision, resolved once; the heading of its pages."""

    def __init__(self, v: View, request: Request, at: str | None = None) -> None:
        self.v, self.request = v, request
        self.repo: RegisteredRepository = v.repository(request.path_params["repo"])
        self.at = at or parameter(request, "at") or "HEAD"
        self.resolved: Resolved = v.catalog.resolve(self.repo, self.at)
        self.commit: Commit = v.catalog.commit(self.repo, self.resolved)
        self.urls: Urls = v.urls

    @property
    def sha(self) -> str:
        """The commit, in full."""
        return self.resolved.commit

    @property
    def fixed(self) -> bool:
        """Whether the address names a commit by its full id, so that it never means another."""
        return is_sha(self.at)

    @property
    def key(self) -> tuple[Any, ...]:
        """What the heading depends on."""
        return (
            self.urls.root,
            self.v.who.name if self.v.site.access.per_dag else None,
            self.repo.name,
            self.at,
            self.sha,
            self.resolved.source,
            self.resolved.warnings,
            self.request.url.path,
            self.request.url.query,
        )

    def ready(self) -> Indexed:
        """Where the store has the commit. Raises BeingIndexed or NotIndexed."""
        return self.v.ready(self.repo, self.resolved)

    def dag_id(self) -> str:
        """The DAG of the address. Raises NoSuchDag where the asker may not see it."""
        name: str = self.request.path_params["dag_id"]
        if not self.v.sees_dag(self.repo.name, name):
            raise NoSuchDag(f"there is no DAG {quoted(name)}", hint="gitdags ls")
        return name

    def here(self, **changed: str | list[str] | None) -> str:
        """This page with some parameters other than they are; None takes one away."""
        return address(self.request, **changed)

    def answer(
        self,
        template: str,
        depends: tuple[Any, ...],
        make: Callable[[], Mapping[str, Any]],
        *,
        tab: str = "",
        headers: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> Response:
        """The page, rendered where it is not known. ``depends`` is all that ``make`` depends on.

        Where ``make`` says ``complete`` is False, the page is not kept: next time it says more.
        """

        def body() -> bytes:
            values = dict(make())
            complete = values.pop("complete", True)
            text = render(template, self.request, place=self, tab=tab, **values).encode()
            return text if complete else Passing(text)

        return send(
            self.request,
            body,
            HTML,
            depends=(template, tab, self.key, depends),
            cache=self.v.site.pages,
            commit=self.sha,
            headers=headers,
            status=status,
        )


def parameter(request: Request, name: str) -> str | None:
    """A parameter's text, without blanks around it; None where it is not given. Raises BadParameter."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if len(text) > LONGEST:
        raise BadParameter(f"{name} is longer than {LONGEST:,} characters")
    return text.strip() or None


def number(request: Request, name: str, default: int, most: int) -> int:
    """A parameter that is a count, from 1 to ``most``. Raises BadParameter."""
    text = parameter(request, name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= most:
        raise BadParameter(f"{name} is no number from 1 to {most:,}")
    return int(text)


def address(request: Request, **changed: str | list[str] | None) -> str:
    """The request's own path and parameters, with some changed."""
    parts: dict[str, str | list[str] | None] = {}
    given: QueryParams = request.query_params
    for name in given:
        values = given.getlist(name)
        parts[name] = values if len(values) > 1 else values[0]
    parts.update(changed)
    raw = request.scope.get("raw_path") or request.url.path.encode()
    return raw.decode("latin-1").partition("?")[0] + query(**parts)


# ── templates ─────────────────────────────────────────────────────────────────────────────


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_finalize,
    )
    made.tests["seen"] = lambda dag_id, place: place.v.sees_dag(place.repo.name, dag_id)
    made.filters["day"] = lambda when: f"{when:%Y-%m-%d}"
    made.filters["minute"] = lambda when: f"{when:%Y-%m-%d %H:%M}"
    made.filters["moment"] = moment
    made.filters["short"] = lambda sha: (sha or "")[:12]
    made.filters["operator"] = operator_name
    made.filters["brief"] = brief
    made.filters["pretty"] = pretty
    made.filters["count"] = lambda n, noun, many=None: (
        f"{n:,} {noun if n == 1 else many or noun + 's'}"
    )
    return made


def _finalize(value: Any) -> Any:
    """Every expression of a template passes here: what a repository holds is made visible."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def render(template: str, request: Request, **values: Any) -> str:
    """A template's text."""
    urls = Urls(request.scope.get("root_path", "").rstrip("/"))
    return _templates().get_template(template).render(urls=urls, request=request, **values)


def brief(value: Json) -> str:
    """A JSON value in one line, as people write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def pretty(value: Json) -> str:
    """A JSON value over several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)


def iso(when: datetime) -> str:
    """For ``datetime`` attributes."""
    return moment(when)


# ── what is not a page of its own ─────────────────────────────────────────────────────────


def static(request: Request) -> Response:
    """A file of ours: for good, where its version is named."""
    found = assets().get(request.path_params["name"])
    if found is None:
        raise NoSuchPage("there is no such file")
    told = {
        "cache-control": f"public, {IMMUTABLE}" if request.query_params.get("v") else "no-cache",
        "etag": f'"{found.tag}"',
        "vary": "accept-encoding",
    }
    if request.headers.get("if-none-match") == told["etag"]:
        return Response(status_code=304, headers=told)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            found.packed, headers=told | {"content-encoding": "gzip"}, media_type=found.kind
        )
    return Response(found.body, headers=told, media_type=found.kind)


def failure(request: Request, error: GitdagsError) -> Response:
    """The page of an error: what it is, what may have been meant, what to do next."""
    if isinstance(error, BeingIndexed):
        return indexing(request, error.job)
    status = HTTPStatus(error.http_status)
    near = [(text, _near_address(request, error, text)) for text in error.near]
    body = render(
        "error.html",
        request,
        error=error,
        status=int(status),
        phrase=status.phrase,
        near=near,
        wants_index=isinstance(error, NotIndexed),
        request_id=request.scope.get("request_id", ""),
        tree=_tree_address(request),
    )
    headers = error_headers(error)
    return send(request, body.encode(), HTML, keep=NO_STORE, status=int(status), headers=headers)


def _near_address(request: Request, error: GitdagsError, text: str) -> str:
    """Where what was perhaps meant is: the same page with the wrong part of its address replaced."""
    params = request.path_params
    urls = Urls(request.scope.get("root_path", "").rstrip("/"))
    kind = type(error).__name__
    at = request.query_params.get("at")
    if kind == "UnknownRepository":
        return urls.repo(text)
    if kind == "NoSuchDag" and "repo" in params:
        return urls.dag(params["repo"], text, at=at)
    if kind == "NoSuchFile" and "repo" in params:
        return urls.source(params["repo"], text, at=at)
    if kind == "NoSuchRun" and "repo" in params and "dag_id" in params:
        return urls.run(params["repo"], params["dag_id"], text)
    return address(request, at=text)


def _tree_address(request: Request) -> str | None:
    """The files of the commit, which need only Git."""
    repo, at = request.path_params.get("repo"), request.query_params.get("at")
    if repo is None:
        return None
    return Urls(request.scope.get("root_path", "").rstrip("/")).source(repo, "", at=at or "HEAD")


def indexing(request: Request, job: Job, files: Any = None) -> Response:
    """A commit that is being parsed: how far it is, and what Git alone already shows."""
    body = render("indexing.html", request, job=job, files=files, tree=_tree_address(request))
    headers = {"retry-after": str(RETRY), "x-git-commit": job.commit}
    return send(request, body.encode(), HTML, keep=NO_STORE, status=202, headers=headers)
