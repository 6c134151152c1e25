"""The API below ``/api/v1``, reading: each answer is the catalog's, in the form that `--json` has too."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gitdags import archive, wire
from gitdags.catalog import NoSuchDag, NoSuchFile
from gitdags.errors import GitdagsError, quoted
from gitdags.git import display, is_sha
from gitdags.model import MODE_LINK, MODE_SUBMODULE, RegisteredRepository, Resolved
from gitdags.run_catalog import NoSuchRun
from gitdags.web import drawing, routing, schemas
from gitdags.web.answers import IMMUTABLE, JSON, REVALIDATE, SVG, as_json, send
from gitdags.web.site import View
from gitdags.web.views import view

routing.register()
router = APIRouter(prefix="/api/v1", responses=schemas.PROBLEMS)

Repo = Annotated[str, Path(description="name of a registered repository", max_length=63)]
DagId = Annotated[str, Path(description="dag_id; a slash in it is %2F", max_length=1_000)]
# Any: a path may hold bytes that are no UTF-8, which pydantic refuses in a str.
FilePath = Annotated[
    Any, Path(description="path in the repository", json_schema_extra={"type": "string"})
]
At = Annotated[
    str,
    Query(description="any revision: branch, tag, id, HEAD~3, main@{2025-03-01}", max_length=1_024),
]
Sha = Annotated[str, Path(description="full commit id", pattern="^[0-9a-f]{40}$")]
Hash = Annotated[str, Path(description="hash of a document", pattern="^[0-9a-f]{64}$")]
Limit = Annotated[int, Query(description="most items of one page", ge=1, le=1_000)]
After = Annotated[str | None, Query(description="`next` of the page before", max_length=2_000)]

Item = TypeVar("Item")


class BadCursor(GitdagsError):
    """An ``after`` that no answer ever gave as ``next``."""

    http_status = 422


# ── repositories and refs ─────────────────────────────────────────────────────────────────


@router.get("/repos", response_model=list[schemas.Repository], tags=["repositories"])
def repos(request: Request) -> Response:
    """Every repository the asker may read."""
    with view(request) as v:
        found = []
        for repo in v.repositories():
            found.append({"name": repo.name, "url": repo.url, "default_branch": _default(v, repo)})
        return send(request, as_json(found), JSON)


def _default(v: View, repo: RegisteredRepository) -> str | None:
    try:
        return v.catalog.opened(repo).default_branch()
    except GitdagsError:
        return None  # its mirror is away; the others are still to be listed


@router.get("/repos/{repo:segment}/refs", response_model=schemas.Refs, tags=["repositories"])
def refs(
    request: Request,
    repo: Repo,
    q: Annotated[str, Query(description="part of the name", max_length=1_024)] = "",
    limit: Limit = 100,
    after: After = None,
) -> Response:
    """Branches, tags and other refs by name, those first that begin with what is asked for."""
    with view(request) as v:
        found = [r for r in v.catalog.refs(v.repository(repo)) if q.lower() in r.name.lower()]
        found.sort(key=lambda r: (not r.short.lower().startswith(q.lower()), r.kind, r.name))
        page, more = paged(found, limit, after)
        told = [
            {"name": r.name, "short": r.short, "kind": r.kind, "commit": r.commit} for r in page
        ]
        return send(request, as_json({"refs": told, "next": more}), JSON)


@router.get("/repos/{repo:segment}/resolve", response_model=schemas.Resolved, tags=["repositories"])
def resolve(
    request: Request, repo: Repo, rev: Annotated[str, Query(max_length=1_024, min_length=1)]
) -> Response:
    """The commit that a revision means now, how that was found, and what else it could mean."""
    with view(request) as v:
        found = v.catalog.resolve(v.repository(repo), rev)
        return send(request, as_json(wire.plain(found)), JSON, commit=found.commit)


@router.get("/repos/{repo:segment}/commits", response_model=schemas.Commits, tags=["history"])
def commits(
    request: Request,
    repo: Repo,
    at: At = "HEAD",
    dag: Annotated[str | None, Query(description="only those that changed this DAG")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """Commits along first parents, newest first, with the DAGs each changed, as far as indexed."""
    with view(request) as v:
        repository = v.repository(repo)
        resolved = v.catalog.resolve(repository, after if after and is_sha(after) else at)
        if after is not None and not is_sha(after):
            raise BadCursor(f"{quoted(after)} is no cursor")
        found, more = v.catalog.changes(repository, resolved, limit=limit, dag_id=dag)
        told = {
            "commits": [
                {
                    **wire.commit(one.commit),
                    "indexed": one.indexed,
                    "changes": [
                        {"dag_id": w.dag_id, "change": w.change}
                        for w in one.versions
                        if v.sees_dag(repo, w.dag_id)
                    ],
                }
                for one in found
            ],
            "next": more,
        }
        return send(request, as_json(told), JSON, commit=resolved.commit)


# ── DAGs at a commit ──────────────────────────────────────────────────────────────────────


@router.get(
    "/repos/{repo:segment}/dags",
    response_model=schemas.Listing,
    responses=schemas.INDEXING,
    tags=["DAGs"],
)
def dags(request: Request, repo: Repo, at: At = "HEAD") -> Response:
    """The DAGs of a commit, and the files that fail to import there."""
    with view(request) as v:
        repository = v.repository(repo)
        resolved = v.catalog.resolve(repository, at)
        indexed = v.ready(repository, resolved)

        def make() -> bytes:
            told = wire.listing(v.catalog.dags(repository, resolved, parse=False))
            told["dags"] = [row for row in told["dags"] if v.sees_dag(repo, row["dag_id"])]
            for error in told["errors"]:
                error["dag_ids"] = [d for d in error["dag_ids"] if v.sees_dag(repo, d)]
            return as_json(told)

        who = v.who.name if v.site.access.per_dag else None
        depends = ("dags", repo, resolved.commit, indexed.environment.id, indexed.manifest,
                   v.catalog.index_state(repository), who)  # fmt: skip
        return send(
            request, make, JSON, depends=depends, cache=v.site.pages, commit=resolved.commit
        )


@router.get(
    "/repos/{repo:segment}/dags/{dag_id:segment}",
    response_model=schemas.Document,
    responses=schemas.INDEXING,
    tags=["DAGs"],
)
def dag(request: Request, repo: Repo, dag_id: DagId, at: At = "HEAD") -> Response:
    """A DAG's document at a commit, with its file; the last good one where its file fails there."""
    with view(request) as v:
        repository, resolved = _dag_at(v, repo, dag_id, at)
        found = v.catalog.document(repository, dag_id, resolved, parse=False)
        told = wire.document(found, v.catalog.settings(repository))
        return send(request, as_json(told), JSON, commit=resolved.commit)


@router.get(
    "/repos/{repo:segment}/dags/{dag_id:segment}/versions",
    response_model=schemas.Versions,
    tags=["history"],
)
def versions(
    request: Request,
    repo: Repo,
    dag_id: DagId,
    at: At = "HEAD",
    limit: Limit = 50,
    after: After = None,
) -> Response:
    """At which commits a DAG changed, and how, newest first."""
    with view(request) as v:
        repository = v.repository(repo)
        resolved = v.catalog.resolve(repository, at)
        _must_see(v, repo, dag_id)
        found = v.catalog.log(repository, dag_id, resolved.commit)
        page, more = paged(found.versions, limit, after)
        told = {"versions": [wire.version(one) for one in page], "next": more}
        return send(request, as_json(told), JSON, commit=resolved.commit)


@router.get(
    "/repos/{repo:segment}/dags/{dag_id:segment}/blame",
    response_model=list[dict[str, Any]],
    responses=schemas.INDEXING,
    tags=["history"],
)
def blame(request: Request, repo: Repo, dag_id: DagId, at: At = "HEAD") -> Response:
    """The commits that brought and last changed each task and edge."""
    with view(request) as v:
        repository, resolved = _dag_at(v, repo, dag_id, at)
        found = v.catalog.blame(repository, dag_id, resolved.commit)
        return send(request, as_json([wire.blamed(b) for b in found]), JSON, commit=resolved.commit)


@router.get(
    "/repos/{repo:segment}/dags/{dag_id:segment}/graph.svg",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}}, **schemas.INDEXING},
    tags=["DAGs"],
)
def graph(
    request: Request,
    repo: Repo,
    dag_id: DagId,
    at: At = "HEAD",
    fold: Annotated[list[str] | None, Query(description="groups shown as one box; *: all")] = None,
    down: Annotated[bool, Query(description="draw from top to bottom")] = False,
) -> Response:
    """The graph, as the page shows it, with its own colours: a picture that stands alone."""
    with view(request) as v:
        repository, resolved = _dag_at(v, repo, dag_id, at)
        found = v.catalog.document(repository, dag_id, resolved, parse=False)
        options = drawing.Options(fold=tuple(sorted(fold or ())), down=down)
        return send(
            request,
            lambda: drawing.alone(v.site.renderer, found.document, options).encode(),
            SVG,
            depends=("svg", found.row.dag_hash, options),
            cache=v.site.pages,
            commit=resolved.commit,
        )


@router.get(
    "/repos/{repo:segment}/documents/{dag_hash}", response_model=dict[str, Any], tags=["DAGs"]
)
def document(request: Request, repo: Repo, dag_hash: Hash) -> Response:
    """Exactly the text that was hashed (RFC 8785)."""
    with view(request) as v:
        text = v.catalog.document_of(v.repository(repo), dag_hash)
        _must_see(v, repo, json.loads(text)["dag_id"])
        return send(request, text.encode(), JSON, keep=_keep(v))


# ── files ─────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/repos/{repo:segment}/source/{path:path}",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/octet-stream": {}}}},
    tags=["files"],
)
def source(request: Request, repo: Repo, path: FilePath, at: At = "HEAD") -> Response:
    """The bytes of a file at a commit, as Git has them; never as anything a browser would run."""
    with view(request) as v:
        repository, resolved = files_at(v, repo, at)
        data = v.catalog.source(repository, path, resolved)
        return send(
            request,
            data,
            media_type(data),
            keep=_keep(v, at),
            commit=resolved.commit,
            headers={"content-security-policy": "default-src 'none'; sandbox"},
        )


@router.get("/repos/{repo:segment}/tree", response_model=schemas.Tree, tags=["files"])
def root(request: Request, repo: Repo, at: At = "HEAD") -> Response:
    """The top folder of a commit."""
    return tree(request, repo, "", at)


@router.get("/repos/{repo:segment}/tree/{path:path}", response_model=schemas.Tree, tags=["files"])
def tree(request: Request, repo: Repo, path: FilePath, at: At = "HEAD") -> Response:
    """What a folder holds at a commit. Names that are no UTF-8 are shown with ``\\xNN``."""
    with view(request) as v:
        repository, resolved = files_at(v, repo, at)
        entries = v.catalog.folder(repository, path, resolved)
        told = {
            "commit": resolved.commit,
            "path": display(path.encode("utf-8", "surrogateescape")),
            "entries": [
                {
                    "name": display(one.name),
                    "type": kind_of(one.entry.mode),
                    "mode": f"{one.entry.mode:06o}",
                    "oid": one.entry.oid,
                    "size": one.size,
                }
                for one in entries
            ],
        }
        return send(request, as_json(told), JSON, keep=_keep(v, at), commit=resolved.commit)


@router.get(
    "/repos/{repo:segment}/archive/{sha}",
    response_class=Response,
    responses={200: {"content": {"application/gzip": {}}}},
    tags=["files"],
)
def pack(
    request: Request,
    repo: Repo,
    sha: Sha,
    subdir: Annotated[str, Query(description="only what is below it", max_length=4_096)] = "",
) -> Response:
    """The tree of a commit as a tar.gz; paths are those in the repository, also with ``subdir``."""
    with view(request) as v:
        repository, resolved = files_at(v, repo, sha)
        commit = v.catalog.commit(repository, resolved)
        path = subdir.strip("/").encode("utf-8", "surrogateescape")
        entry = v.catalog.opened(repository).find(commit.tree, path)
        if entry is None or not entry.is_tree:
            raise NoSuchFile(
                f"there is no folder {quoted(subdir)} at {sha[:12]}",
                hint=f"git ls-tree {sha[:12]}",
            )
        headers = {
            "cache-control": f"{_scope(v)}, {IMMUTABLE}",
            "etag": f'"{entry.oid}-{archive.LEVEL}"',
            "x-git-commit": sha,
            "content-disposition": f'attachment; filename="{repo}-{sha[:12]}.tar.gz"',
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        v.catalog.opened(repository).measure(entry.oid)  # raises while an error can still be told
    parts = _lent(request, repository, lambda opened: archive.pack(opened, commit.tree, path))
    return StreamingResponse(parts, headers=headers, media_type="application/gzip")


def _lent(request: Request, repo: RegisteredRepository, make: Any) -> Iterator[bytes]:
    """Parts of a long answer, with a catalog of their own while they are made."""
    with request.app.state.site.catalogs.lend() as catalog:
        yield from make(catalog.opened(repo))


@router.get(
    "/repos/{repo:segment}/bundle/{sha}",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
    tags=["files"],
)
def bundle(request: Request, repo: Repo, sha: Sha) -> Response:
    """A Git bundle of a commit with its history, for hosts that lack it and cannot reach its remote."""
    from gitdags import keep

    with view(request) as v:
        repository, _ = files_at(v, repo, sha)
        parts = keep.bundle(repository.path, [sha])
        headers = {
            "cache-control": f"{_scope(v)}, no-cache",
            "x-git-commit": sha,
            "content-disposition": f'attachment; filename="{repo}-{sha[:12]}.bundle"',
        }
        return StreamingResponse(parts, headers=headers, media_type="application/octet-stream")


# ── comparing ─────────────────────────────────────────────────────────────────────────────


@router.get(
    "/repos/{repo:segment}/compare",
    response_model=schemas.Comparison,
    responses=schemas.INDEXING,
    tags=["history"],
)
def compare(
    request: Request,
    repo: Repo,
    old: Annotated[str, Query(alias="from", max_length=1_024, min_length=1)],
    new: Annotated[str, Query(alias="to", max_length=1_024)] = "HEAD",
    dag: Annotated[str | None, Query(description="only this DAG")] = None,
) -> Response:
    """What differs between the DAGs of two commits."""
    with view(request) as v:
        repository = v.repository(repo)
        sides = [v.catalog.resolve(repository, rev) for rev in (old, new)]
        for side in sides:
            v.ready(repository, side)
        told = wire.comparison(
            v.catalog.compare(repository, sides[0].commit, sides[1].commit, dag, parse=False)
        )
        for name in ("added", "removed", "failed", "fixed"):
            told[name] = [d for d in told[name] if v.sees_dag(repo, d)]
        told["changed"] = [c for c in told["changed"] if v.sees_dag(repo, c["dag_id"])]
        return send(request, as_json(told), JSON, commit=sides[1].commit)


# ── runs and deployments ──────────────────────────────────────────────────────────────────


@router.get("/repos/{repo:segment}/runs", response_model=schemas.Runs, tags=["runs"])
def runs(
    request: Request,
    repo: Repo,
    dag_id: Annotated[str | None, Query(max_length=1_000)] = None,
    at: Annotated[
        str | None, Query(description="only those that ran at this commit", max_length=1_024)
    ] = None,
    airflow: Annotated[str | None, Query(description="name of the installation")] = None,
    limit: Limit = 100,
    after: After = None,
) -> Response:
    """Runs with their tries, newest first."""
    with view(request) as v:
        repository = v.repository(repo)
        commit = None if at is None else v.catalog.resolve(repository, at).commit
        found = v.catalog.runs(
            dag_id, commit, airflow, repository, limit=limit + 1, before=_moment(after)
        )
        page = found[:limit]
        last = page[-1] if len(found) > limit else None
        told = {
            "runs": [wire.run(one) for one in page if v.sees_dag(repo, one.dag_id)],
            "next": last and f"{last.stamped_at.timestamp():.6f}-{last.id}",
        }
        return send(request, as_json(told), JSON, commit=commit)


def _moment(text: str | None) -> tuple[datetime, int] | None:
    if text is None:
        return None
    seconds, _, number = text.partition("-")
    try:
        return datetime.fromtimestamp(float(seconds), UTC), int(number)
    except (ValueError, OverflowError, OSError):
        raise BadCursor(f"{quoted(text)} is no cursor") from None


@router.get(
    "/repos/{repo:segment}/suspects",
    response_model=schemas.Suspicion,
    responses={409: schemas.PROBLEMS[400]},
    tags=["runs"],
)
def suspects(
    request: Request,
    repo: Repo,
    dag_id: Annotated[str, Query(max_length=1_000, min_length=1)],
    run_id: Annotated[str, Query(max_length=1_000, min_length=1)],
    airflow: Annotated[str | None, Query(description="name of the installation")] = None,
) -> Response:
    """The commits since the last good run that touched what the DAG reads, and what each changed.

    Of what is indexed: nothing is parsed for it. `gitdags suspects` parses what is missing.
    """
    with view(request) as v:
        repository = v.repository(repo)
        _must_see(v, repo, dag_id)
        run = v.catalog.run(dag_id, run_id, airflow)
        if run.repo not in (None, repository.name):
            raise NoSuchRun(f"no run {quoted(run_id)} of {quoted(dag_id)} ran here")
        return send(request, as_json(wire.suspicion(v.catalog.suspects(run, parse=False))), JSON)


@router.get("/repos/{repo:segment}/deploys", response_model=list[schemas.Deployment], tags=["runs"])
def deploys(
    request: Request,
    repo: Repo,
    ref: Annotated[str | None, Query(description="full name of one ref", max_length=1_024)] = None,
    limit: Limit = 100,
) -> Response:
    """Recorded moves of refs, newest first."""
    with view(request) as v:
        found = v.catalog.deployments(v.repository(repo), ref, limit=limit)
        return send(request, as_json([wire.deployment(d) for d in found]), JSON)


# ── helpers ───────────────────────────────────────────────────────────────────────────────


def _dag_at(v: View, repo: str, dag_id: str, at: str) -> tuple[RegisteredRepository, Resolved]:
    repository = v.repository(repo)
    resolved = v.catalog.resolve(repository, at)
    _must_see(v, repo, dag_id)
    v.ready(repository, resolved)
    return repository, resolved


def _must_see(v: View, repo: str, dag_id: str) -> None:
    if not v.sees_dag(repo, dag_id):
        raise NoSuchDag(f"there is no DAG {quoted(dag_id)}", hint="gitdags ls")


def files_at(v: View, repo: str, at: str) -> tuple[RegisteredRepository, Resolved]:
    """The repository and commit, for one who may see all its files. Raises NoSuchFile."""
    repository = v.repository(repo)
    if not v.site.access.may_read_files(v.who, repo):
        raise NoSuchFile("this repository's files are not shown to you", hint="gitdags ls")
    return repository, v.catalog.resolve(repository, at)


def kind_of(mode: int) -> str:
    """tree, file, link or submodule."""
    if mode == MODE_LINK:
        return "link"
    if mode == MODE_SUBMODULE:
        return "submodule"
    return "tree" if mode == 0o040000 else "file"


def media_type(data: bytes) -> str:
    """Plain text where it is UTF-8 without NUL, else bytes."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "application/octet-stream" if "\0" in text else "text/plain; charset=utf-8"


def _scope(v: View) -> str:
    """Whether a shared cache may keep it: not what a name or token opened."""
    open_to_all = v.site.access.local and not v.site.access.rules
    return "public" if open_to_all else "private"


def _keep(v: View, at: str | None = None) -> str:
    if at is None or is_sha(at):
        return f"{_scope(v)}, {IMMUTABLE}"
    return REVALIDATE


def paged(
    items: Sequence[Item], limit: int, after: str | None
) -> tuple[Sequence[Item], str | None]:
    """(one page, cursor of the next or None). Raises BadCursor."""
    begin = 0
    if after is not None:
        try:
            begin = int(base64.urlsafe_b64decode(after.encode()))
        except (ValueError, binascii.Error):
            raise BadCursor(f"{quoted(after)} is no cursor") from None
        if begin < 0:
            raise BadCursor(f"{quoted(after)} is no cursor")
    end = begin + limit
    more = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[begin:end], more
