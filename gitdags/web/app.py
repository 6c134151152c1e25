"""The application: every URL in one table, and how an error is told. An ASGI app, to be mounted anywhere."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gitdags import __version__
from gitdags.config import Settings
from gitdags.errors import GitdagsError
from gitdags.web import api, intake, pages, schemas, upkeep, webhooks
from gitdags.web.access import Access
from gitdags.web.answers import JSON, NO_STORE, as_json, problem, send
from gitdags.web.frame import Frame
from gitdags.web.indexer import Job
from gitdags.web.metrics import Metrics
from gitdags.web.site import BeingIndexed, Site

log = logging.getLogger("gitdags.web")

Handler = Callable[[Request], Response]

# Page -> what renders it. The first part of a path is a repository unless it is one of the names
# that `gitdags.registry` reserves.
PAGES: tuple[tuple[str, Handler], ...] = (
    ("/", pages.home),
    ("/static/{name}", pages.static),
    ("/docs", pages.docs),
    ("/find", pages.find),
    ("/healthz", upkeep.healthz),
    ("/readyz", upkeep.readyz),
    ("/metrics", upkeep.metrics),
    ("/{repo:segment}", pages.repository),
    ("/{repo:segment}/dags/{dag_id:segment}", pages.graph),
    ("/{repo:segment}/dags/{dag_id:segment}/code", pages.code),
    ("/{repo:segment}/dags/{dag_id:segment}/history", pages.history),
    ("/{repo:segment}/dags/{dag_id:segment}/runs", pages.dag_runs),
    ("/{repo:segment}/dags/{dag_id:segment}/document", pages.document),
    ("/{repo:segment}/source/{path:path}", pages.source),
    ("/{repo:segment}/compare", pages.compare),
    ("/{repo:segment}/commits", pages.commits),
    ("/{repo:segment}/deploys", pages.deploys),
    ("/{repo:segment}/runs", pages.runs),
    ("/{repo:segment}/runs/{dag_id:segment}/{run_id:segment}", pages.run),
)


def create(settings: Settings, access: Access | None = None, *, drain: bool = False) -> FastAPI:
    """The application. ``access``: who may; default: as on a loopback address.

    ``drain``: take spooled stamps into the store now and then. Raises BadSetting.
    """
    site = Site(settings, access or Access.of(settings, local=True))
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = settings["web_threads"]
        await to_thread.run_sync(site.renderer.warm)
        stop = upkeep.drainer(site) if drain else None
        yield
        if stop is not None:
            stop()
        site.close()

    app = FastAPI(
        title="gitdags",
        version=__version__,
        description="Every DAG, at every commit. Errors are RFC 9457 problem documents.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers=_HANDLERS,
        responses=schemas.PROBLEMS,
    )
    app.state.site, app.state.metrics = site, metrics
    app.include_router(api.router)
    app.include_router(intake.router)
    app.include_router(webhooks.router)
    for path, handler in PAGES:
        app.router.routes.append(Route(path, handler, methods=["GET"]))
    app.add_middleware(Frame, metrics=metrics, frames=settings["web_frames"])
    return app


# ── errors ────────────────────────────────────────────────────────────────────────────────


def _is_page(request: Request) -> bool:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return not path.startswith("/api/") and path not in (
        "/metrics",
        "/healthz",
        "/readyz",
        "/openapi.json",
    )


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, GitdagsError)
    if isinstance(error, BeingIndexed) and not _is_page(request):
        return _indexing(request, error.job)
    if error.http_status >= 500:
        log.warning(
            "failed", extra={"request_id": request.scope.get("request_id"), "error": error.message}
        )
    if _is_page(request):
        return await to_thread.run_sync(pages.failure, request, error)
    return problem(request, error)


def _indexing(request: Request, job: Job) -> Response:
    told = {
        "repo": job.repo,
        "commit": job.commit,
        "state": job.state,
        "done": job.done,
        "total": job.total,
    }
    headers = {"retry-after": "2", "x-git-commit": job.commit}
    return send(request, as_json(told), JSON, keep=NO_STORE, status=202, headers=headers)


async def _http(request: Request, error: Exception) -> Response:
    """What routing has to say: no such page, no such method."""
    assert isinstance(error, HTTPException)
    told = GitdagsError(str(error.detail), hint="gitdags serve")
    told.http_status = error.status_code
    answer = await _known(request, told)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    one: Any = error.errors()[0]
    where = ".".join(str(part) for part in one["loc"])
    told = GitdagsError(f"{where}: {one['msg']}", hint="gitdags serve")
    told.http_status = 422
    return problem(request, told)


async def _bug(request: Request, error: Exception) -> Response:
    ident = request.scope.get("request_id", "")
    log.error("bug", exc_info=error, extra={"request_id": ident})
    told = GitdagsError(
        f"a bug in gitdags; its log has the traceback under {ident}", hint="gitdags doctor"
    )
    told.http_status = 500
    if _is_page(request):
        return await to_thread.run_sync(pages.failure, request, told)
    return problem(request, told)


_HANDLERS: dict[Any, Callable[[Request, Exception], Coroutine[Any, Any, Response]]] = {
    GitdagsError: _known,
    HTTPException: _http,
    RequestValidationError: _malformed,
    Exception: _bug,
}

__all__ = ["ASGIApp", "create"]
