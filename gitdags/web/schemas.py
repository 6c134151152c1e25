"""The shapes of answers, for the OpenAPI document. Answers are written by `gitdags.wire`, not by these."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = Field(description="a command that helps")
    near: list[str] = Field(description="what may have been meant, best first")
    request_id: str


class Indexing(BaseModel):
    """A commit on its way into the store: ask again after ``Retry-After`` seconds."""

    repo: str
    commit: str
    state: Literal["waiting", "running"]
    done: int = Field(description="files parsed")
    total: int = Field(description="files to parse; 0 while that is not known")


def _problem(description: str) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": description,
        "content": {"application/problem+json": {"schema": reference}},
    }


PROBLEMS: dict[int | str, dict[str, Any]] = {
    304: {"description": "Not modified since the tag that was sent"},
    400: _problem("Bad request"),
    401: _problem("No token, or one that opens nothing"),
    403: _problem("Not allowed"),
    404: _problem("Not there; `near` has what may have been meant"),
    421: _problem("Another host than this server's was named"),
    422: _problem("A parameter is malformed"),
    500: _problem("A bug; its traceback is in the log, under the request id"),
    503: _problem("The store, or what renders, is away"),
}
INDEXING: dict[int | str, dict[str, Any]] = {
    202: {"model": Indexing, "description": "Being indexed; ask again after Retry-After"},
}


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Repository(BaseModel):
    """A registered repository."""

    name: str
    url: str | None
    default_branch: str | None


class Ref(BaseModel):
    """A name in a repository."""

    name: str
    short: str
    kind: Literal["branch", "tag", "remote", "other"]
    commit: str


class Refs(BaseModel):
    """A page of refs."""

    refs: list[Ref]
    next: str | None


class Resolved(BaseModel):
    """What a revision means."""

    rev: str
    commit: str
    source: str
    ref: str | None
    warnings: list[str]


class Change(BaseModel):
    """What a commit did to a DAG."""

    dag_id: str
    change: str


class CommitEntry(BaseModel):
    """A commit and the DAGs it changed."""

    commit: str
    committed_at: datetime
    author: str
    subject: str
    indexed: bool
    changes: list[Change]


class Commits(BaseModel):
    """A page of commits."""

    commits: list[CommitEntry]
    next: str | None


class Version(BaseModel):
    """A commit at which a DAG changed."""

    commit: str
    committed_at: datetime
    author: str
    subject: str
    change: str
    dag_id: str
    dag_hash: str | None
    code_hash: str | None
    engine: str


class Versions(BaseModel):
    """A page of versions."""

    versions: list[Version]
    next: str | None


class Dag(BaseModel):
    """A DAG at a commit."""

    dag_id: str
    file: str
    dag_hash: str
    code_hash: str
    tasks: int
    engine: str
    environment: str


class ImportError_(BaseModel):
    """A file that fails to import."""

    model_config = ConfigDict(title="ImportError")

    file: str
    type: str
    message: str
    dag_ids: list[str]


class Listing(BaseModel):
    """The DAGs of a commit."""

    repo: str
    commit: str
    dags: list[Dag]
    errors: list[ImportError_]


class Document(_Open):
    """``gitdags/dag@1``, and what its row says."""

    file: str
    engine: str
    environment: str


class TreeEntry(BaseModel):
    """An entry of a folder."""

    name: str
    type: Literal["tree", "file", "link", "submodule"]
    mode: str
    oid: str
    size: int | None


class Tree(BaseModel):
    """A folder at a commit."""

    commit: str
    path: str
    entries: list[TreeEntry]


class ChangedDag(_Open):
    """What differs in one DAG."""

    dag_id: str
    code_only: bool


class Comparison(BaseModel):
    """What differs between the DAGs of two commits."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from")
    to: str
    added: list[str]
    removed: list[str]
    failed: list[str]
    fixed: list[str]
    changed: list[ChangedDag]


class Try(_Open):
    """One try of a task instance."""

    task_id: str
    map_index: int
    try_number: int
    commit: str | None
    state: str


class Run(_Open):
    """A run and the commit it began with."""

    airflow: str
    dag_id: str
    run_id: str
    repo: str | None
    commit: str | None
    dag_hash: str | None
    source: str
    stamped_at: datetime
    tries: list[Try]


class Runs(BaseModel):
    """A page of runs."""

    runs: list[Run]
    next: str | None


class Suspicion(_Open):
    """What changed since the last good run."""


class Deployment(BaseModel):
    """A recorded move of a ref."""

    repo: str
    ref: str
    old: str | None
    new: str | None
    at: datetime
    by: str
    source: str


class Accepted(BaseModel):
    """How many records were taken in."""

    accepted: int
