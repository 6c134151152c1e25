"""Whether the server is well, in numbers; and the stamps it takes into the store now and then."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gitdags.errors import GitdagsError
from gitdags.web.answers import JSON, NO_STORE, TEXT, as_json, send
from gitdags.web.metrics import Labels, gauge
from gitdags.web.site import Site, View
from gitdags.web.views import site_of, view

log = logging.getLogger("gitdags.web")

DRAIN_EVERY = 2.0
"""Seconds between two looks at the spool."""


def healthz(request: Request) -> Response:
    """The process answers."""
    return send(request, b"ok\n", TEXT, keep=NO_STORE)


def readyz(request: Request) -> Response:
    """The store answers too; 503 where it does not."""
    try:
        with site_of(request).catalogs.lend() as catalog:
            catalog.repositories()
    except GitdagsError as error:
        told = {"ready": False, "store": error.message}
        return send(request, as_json(told), JSON, keep=NO_STORE, status=503)
    return send(request, as_json({"ready": True}), JSON, keep=NO_STORE)


def metrics(request: Request) -> Response:
    """Everything worth a graph or an alert."""
    with view(request) as v:
        body = request.app.state.metrics.text() + "".join(_gauges(v))
    return send(request, body.encode(), "text/plain; version=0.0.4; charset=utf-8", keep=NO_STORE)


def _gauges(v: View) -> Iterator[str]:
    site = v.site
    size, oldest = site.spool.waiting()
    now = time.time()
    yield gauge("gitdags_spool_bytes", "stamps that are not in the store yet", [({}, size)])
    age = now - oldest if oldest else 0.0
    yield gauge("gitdags_spool_age_seconds", "age of the oldest of them", [({}, age)])
    yield gauge(
        "gitdags_index_waiting",
        "commits asked for and not indexed yet",
        [({}, site.indexer.waiting())],
    )
    yield gauge(
        "gitdags_webhooks_refused_total",
        "webhooks without a valid signature, or seen before",
        [({}, site.refused_hooks)],
        "counter",
    )
    counts: list[tuple[Labels, float]] = [
        ({"what": what}, number) for what, number in sorted(v.catalog.run_counts().items())
    ]
    yield gauge("gitdags_runs", "stamped runs: all, and those that want looking at", counts)
    yield gauge(
        "gitdags_render_failures_total",
        "drawings that took too long",
        [({}, site.renderer.failures)],
        "counter",
    )
    yield gauge("gitdags_pages_bytes", "memory of kept pages", [({}, site.pages.used)])
    ages: list[tuple[Labels, float]] = []
    lag: list[tuple[Labels, float]] = []
    for repo in v.repositories():
        labels = {"repo": repo.name}
        try:
            fetched = Path(repo.path, "FETCH_HEAD")
            if repo.url is not None and fetched.exists():
                ages.append((labels, now - os.stat(fetched).st_mtime))
            lag.append((labels, float(v.catalog.index_lag(repo))))
        except GitdagsError:
            continue  # a repository that is away has no numbers
    yield gauge("gitdags_mirror_age_seconds", "since the mirror was last fetched", ages)
    yield gauge(
        "gitdags_index_lag_commits",
        "commits of the default branch past the newest indexed one",
        lag,
    )


def drainer(site: Site) -> Callable[[], None]:
    """Begin to take spooled stamps into the store; call what it gives to end that."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(DRAIN_EVERY):
            if not site.spool.waiting()[0]:
                continue  # a run without a document waits for the next stamp
            try:
                with site.catalogs.lend() as catalog:
                    catalog.drain()
                    catalog.settle()
            except (GitdagsError, OSError) as error:
                log.warning("cannot drain", extra={"error": str(error)})  # next time perhaps

    thread = threading.Thread(target=work, name="drainer", daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(10)

    return end
