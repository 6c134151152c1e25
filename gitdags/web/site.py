"""What one web application holds, and the view of one request on it: who asks, and of what."""

from __future__ import annotations

import difflib
import json
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from starlette.requests import Request

from gitdags.browse_catalog import Indexed
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.errors import GitdagsError, quoted
from gitdags.listings import NotIndexed
from gitdags.model import Json, RegisteredRepository, Resolved
from gitdags.registry import UnknownRepository
from gitdags.spool import Spool
from gitdags.web.access import Access, Principal
from gitdags.web.answers import Pages
from gitdags.web.cache import Cache
from gitdags.web.catalogs import Catalogs
from gitdags.web.fetcher import Fetcher
from gitdags.web.indexer import Indexer, Job
from gitdags.web.renderer import Renderer
from gitdags.web.urls import Urls


class BeingIndexed(GitdagsError):
    """A commit that is being parsed: come again."""

    http_status = 202

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.commit[:12]} is being indexed", hint="")
        self.job = job


class Site:
    """Made once per application; what it holds is begun when first needed."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self.settings, self.access = settings, access
        self.catalogs = Catalogs(settings)
        self.pages = Pages(settings["web_memory"])
        # A third as much again, for what lists are made of.
        self.fragments: Cache[str] = Cache(settings["web_memory"] // 6)
        self.facts: Cache[Any] = Cache(settings["web_memory"] // 6, lambda _: 400)
        self.renderer = Renderer()
        self.indexer = Indexer(self.catalogs)
        self.fetcher = Fetcher(self.catalogs, self.indexer)
        self.spool = Spool(settings.spool)
        self.refused_hooks = 0
        self.latest: tuple[Any, dict[str, Sequence[tuple[str, str]]]] = (None, {})
        self.lock = threading.Lock()

    def close(self) -> None:
        """End what it began."""
        self.indexer.close()
        self.renderer.close()
        self.catalogs.close()

    @contextmanager
    def view(self, request: Request, *, reads: bool = True) -> Iterator[View]:
        """What a request sees. Raises Misdirected, Unauthorized or Forbidden."""
        self.access.check_host(request)
        with self.catalogs.lend() as catalog:
            who = self.access.principal(request, catalog.token)
            request.scope["who"] = who.name
            if reads:
                self.access.require_reader(who)
            yield View(self, request, catalog, who)


class View:
    """One request's catalog, seen through what its sender may."""

    def __init__(self, site: Site, request: Request, catalog: Catalog, who: Principal) -> None:
        self.site, self.request, self.catalog, self.who = site, request, catalog, who
        self.urls = Urls(request.scope.get("root_path", "").rstrip("/"))

    # ── repositories ──────────────────────────────────────────────────────────────────────

    def repositories(self) -> list[RegisteredRepository]:
        """Those that the sender may read."""
        access = self.site.access
        return [r for r in self.catalog.repositories() if access.may_read(self.who, r.name)]

    def repository(self, name: str) -> RegisteredRepository:
        """The one of that name. One that may not be read is as unknown as one that is not there.

        Raises UnknownRepository.
        """
        known = self.repositories()
        for repository in known:
            if repository.name == name:
                return repository
        near = difflib.get_close_matches(name, [r.name for r in known], 5)
        raise UnknownRepository(
            f"no repository is registered as {quoted(name)}", hint="gitdags repos", near=near
        )

    def sees_dag(self, repo: str, dag_id: str) -> bool:
        """Whether the sender may see one DAG."""
        return self.site.access.may_read_dag(self.who, repo, dag_id)

    # ── commits ───────────────────────────────────────────────────────────────────────────

    @cached_property
    def may_parse(self) -> bool:
        """Whether asking may start a parse."""
        return self.site.access.may_parse(self.request, self.who)

    def ready(self, repo: RegisteredRepository, resolved: Resolved) -> Indexed:
        """Where the store has the commit. Raises BeingIndexed or NotIndexed."""
        found = self.catalog.indexed_at(repo, resolved)
        if found is not None:
            return found
        job = self.site.indexer.state(repo.name, resolved.commit)
        if self.may_parse:
            job = self.site.indexer.ask(repo.name, resolved.commit)
            found = self.catalog.indexed_at(repo, resolved)
            if found is not None:
                return found  # it was done in between
        if job is None or job.state == "failed":
            why = f": {job.error}" if job is not None else " yet"
            raise NotIndexed(
                f"{resolved.commit[:12]} is not indexed{why}",
                hint=(job.hint if job else "")
                or f"gitdags -r {repo.name} index {resolved.commit[:12]}",
            )
        raise BeingIndexed(job)

    def latest_runs(self, dag_ids: Collection[str]) -> dict[str, Sequence[tuple[str, str]]]:
        """dag_id -> (run id, state) of its newest runs; asked for once while nothing new is known of any."""
        state = self.catalog.runs_state()
        with self.site.lock:
            if self.site.latest[0] != state:
                self.site.latest = (state, {})
            known = self.site.latest[1]
        missing = [name for name in dag_ids if name not in known]
        if missing:
            told = self.catalog.latest_runs(missing)
            with self.site.lock:
                known.update({name: told.get(name, ()) for name in missing})
        return known

    # ── what lists say ────────────────────────────────────────────────────────────────────

    def facts(self, hashes: Collection[str], read: Callable[[Json], Any]) -> dict[str, Any]:
        """document hash -> what ``read`` makes of it; remembered, as a hash means one document."""
        kept = self.site.facts
        found = {key: kept.get(key) for key in hashes}
        for key, text in self.catalog.documents([k for k, v in found.items() if v is None]).items():
            found[key] = kept.put(key, read(json.loads(text)))
        return found
