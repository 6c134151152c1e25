"""The frozen values that cross every boundary. No behaviour beyond what their fields imply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""

MODE_TREE, MODE_SUBMODULE, MODE_LINK, MODE_FILE, MODE_EXECUTABLE = (
    0o040000, 0o160000, 0o120000, 0o100644, 0o100755,
)  # fmt: skip


_SHA = re.compile(r"[0-9a-f]{40}")


def is_sha(text: str) -> bool:
    """Whether the text is a full object id: 40 lower-case hex digits."""
    return _SHA.fullmatch(text) is not None


class Entry(NamedTuple):
    """One entry of a tree: the canonical Git mode and the object's id (40 hex digits)."""

    mode: int
    oid: str

    @property
    def is_tree(self) -> bool:
        """Whether it is a directory of this repository (a submodule is not)."""
        return self.mode == MODE_TREE

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.mode in (MODE_FILE, MODE_EXECUTABLE)


class Change(NamedTuple):
    """A path that differs between two trees; a side is None where the path is absent."""

    path: bytes
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True, slots=True)
class Ref:
    """A name in the repository and the commit it leads to."""

    name: str
    """full name, ``refs/heads/main``"""
    commit: str

    @property
    def kind(self) -> Literal["branch", "tag", "remote", "other"]:
        """What sort of ref it is, by its full name."""
        for prefix, kind in _KINDS:
            if self.name.startswith(prefix):
                return kind
        return "other"

    @property
    def short(self) -> str:
        """The name a person types."""
        for prefix, _ in _KINDS:
            if self.name.startswith(prefix):
                return self.name[len(prefix) :]
        return self.name


_KINDS: tuple[tuple[str, Literal["branch", "tag", "remote"]], ...] = (
    ("refs/heads/", "branch"),
    ("refs/tags/", "tag"),
    ("refs/remotes/", "remote"),
)


@dataclass(frozen=True, slots=True)
class Move:
    """A recorded change of a ref: from ``at`` on it led to ``new``."""

    at: datetime
    new: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A recorded move of a ref, and who made it."""

    repo: str
    ref: str
    """full name, or ``HEAD`` for what a working clone has checked out"""
    old: str | None
    """None where the ref began"""
    new: str | None
    """None where the ref ended"""
    at: datetime
    by: str
    source: str
    """hook, fetch, webhook, or airflow: when its bundle went along"""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A revision that a person typed, and the commit it means now."""

    rev: str
    commit: str
    source: Literal[
        "object", "ref", "abbreviation", "expression", "deployment", "reflog", "commit date"
    ]
    ref: str | None = None
    """full name of the ref the revision starts from, where it starts from one"""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; times are aware, in UTC."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: str
    author_email: str
    authored_at: datetime
    committed_at: datetime
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.strip().split("\n", 1)[0]


@dataclass(frozen=True, slots=True)
class RegisteredRepository:
    """A repository gitdags knows by name."""

    name: str
    path: str
    """of the working clone, bare repository or mirror"""
    url: str | None = None
    """where the mirror is fetched from; None for a repository of the user's own"""
    dags_folder: str | None = None
    """given at `init`; None: the setting decides"""
    env_file: str | None = None
    pull_requests: bool = False
    id: int = 0


@dataclass(frozen=True, slots=True)
class ListedDag:
    """A DAG at a commit: one row, immutable."""

    dag_id: str
    file: str
    dag_hash: str
    code_hash: str
    tasks: int
    environment: str
    engine: str
    guesses: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """Why a DAG file yields no DAG, or not all of them: data, not an exception of ours."""

    file: str
    type: str
    message: str
    traceback: str = ""
    dag_ids: tuple[str, ...] = ()
    """the DAGs last known from that file"""


@dataclass(frozen=True, slots=True)
class Listing:
    """All DAGs and failures of a commit in one environment."""

    repo: str
    commit: str
    environment: str
    dags: tuple[ListedDag, ...]
    errors: tuple[ParseFailure, ...]


@dataclass(frozen=True, slots=True)
class StoredEnvironment:
    """An environment that something was parsed in."""

    id: str
    family: str
    engine: str
    airflow: str
    python: str
    env_file: str | None
    plugins: str | None
    layout: str
    created_at: datetime

    def __str__(self) -> str:
        return f"{self.engine} {self.airflow}".strip() + f", Python {self.python}"

    @property
    def exact(self) -> bool:
        """Whether real Airflow parsed, rather than the recorder."""
        return self.engine == "airflow"


ChangeWord = Literal["added", "removed", "failed", "fixed", "structure", "code", "moved"]


@dataclass(frozen=True, slots=True)
class Version:
    """A commit at which a DAG changed, and how."""

    commit: Commit
    change: ChangeWord
    dag_id: str
    dag_hash: str | None
    """None where the DAG is gone; the last good one where it fails"""
    code_hash: str | None
    file: str
    engine: str = "airflow"
    """what parsed the documents that were compared"""


@dataclass(frozen=True, slots=True)
class Log:
    """Versions, newest first, and what the walk could not see."""

    versions: tuple[Version, ...]
    unindexed: int
    """commits of the walk that are not in the store in the environment compared in"""
    elsewhere: int
    """commits indexed, but only in another environment"""
    baseline: str | None
    """the oldest indexed commit, where history goes on before it"""
    incomparable: int = 0
    """DAGs that came to be parsed by another engine, and by no common one on both sides"""


@dataclass(frozen=True, slots=True)
class CommitChanges:
    """A commit and the DAGs it changed."""

    commit: Commit
    indexed: bool
    """whether the store has it; else nothing is known of what it changed"""
    versions: tuple[Version, ...]


class FolderEntry(NamedTuple):
    """One entry of a folder at a commit."""

    name: bytes
    entry: Entry
    size: int | None
    """bytes of a file or of a link's target; None for folders and submodules"""


@dataclass(frozen=True, slots=True)
class DagDiff:
    """What differs between two documents of one DAG; fields map to (old, new)."""

    dag_id: str
    attributes: Mapping[str, tuple[Json, Json]]
    tasks_added: tuple[str, ...]
    tasks_removed: tuple[str, ...]
    tasks_changed: Mapping[str, Mapping[str, tuple[Json, Json]]]
    edges_added: tuple[tuple[str, str], ...]
    edges_removed: tuple[tuple[str, str], ...]
    edges_changed: tuple[tuple[str, str, str | None, str | None], ...]
    groups_added: tuple[str, ...]
    groups_removed: tuple[str, ...]
    groups_changed: Mapping[str, Mapping[str, tuple[Json, Json]]]
    code_only: bool = False
    """whether nothing differs but the source of callables, or the files read"""
    files_changed: tuple[str, ...] = ()
    """paths of the files read whose content differs, or that only one side read"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between the DAGs of two commits."""

    old: str
    new: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    failed: tuple[str, ...]
    """good at the old commit, failing at the new one"""
    fixed: tuple[str, ...]
    """failing at the old commit, good at the new one"""
    changed: tuple[DagDiff, ...]
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.added or self.removed or self.failed or self.fixed or self.changed)


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """A document with its row: which file, engine and environment it is of."""

    document: Mapping[str, Any]
    row: ListedDag
    commit: str
    stale_from: str | None = None
    """the commit this one is of, when the DAG fails at the commit asked for"""


@dataclass(frozen=True, slots=True)
class DagComparison:
    """One DAG at two commits; a side is None where the commit has no such DAG."""

    old: ShownDocument | None
    new: ShownDocument | None
    diff: DagDiff
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Blamed:
    """A task or an edge, the commit that brought it and the one that last changed it."""

    name: tuple[str, ...]
    """(task id,) or (from, to)"""
    added: Commit
    changed: Commit
    boundary: bool
    """whether it was there already at the oldest indexed commit"""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A DagRun as an Airflow's own database or API tells of it."""

    dag_id: str
    run_id: str
    uid: str | None
    """id of its row"""
    state: str
    at: datetime
    """when it began"""
    bundle: str | None
    bundle_version: str | None
    executed: Any
    """what to ask the database for to have the serialized DAG it began with; None: it has none"""


class Imported(NamedTuple):
    """What an import of past runs came to, in counts."""

    runs: int = 0
    new: int = 0
    """stamps; a run whose state changed since is one more"""
    inferred: int = 0
    without: int = 0
    """runs of which no commit is known"""
    executed: int = 0


class Difference(NamedTuple):
    """A place where a DAG as Airflow executed it differs from the same as gitdags parsed it."""

    path: str
    executed: Json
    parsed: Json


@dataclass(frozen=True, slots=True)
class Executed:
    """The DAG of a run as Airflow executed it, and where it differs from the document of its commit."""

    body: Json
    """Airflow's serialized DAG"""
    differences: tuple[Difference, ...] | None
    """None where the run has no document to compare with"""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A commit since the last good run that touched what a DAG reads."""

    commit: Commit
    files: tuple[str, ...]
    """paths it touched, of those that the DAG reads before or after"""
    change: ChangeWord | None
    """what it did to the DAG; None: nothing one could see, or it could not be parsed"""
    diff: DagDiff | None
    """what it changed in the DAG, where it was good before and after"""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What changed between the last successful run and a run."""

    run: RunStamp
    good: RunStamp | None
    """None where no run of the DAG succeeded before"""
    commit: str | None
    """that the run, or its failing try, ran at"""
    good_commit: str | None
    suspects: tuple[Suspect, ...]
    """newest first"""
    undone: tuple[Suspect, ...]
    """commits of the good run that history has lost since, by a force-push or a rollback"""
    runtime: Mapping[str, tuple[str, str]]
    """what else the two ran with, where it differs: (then, now)"""
    commits: int
    """commits in between, those that touched nothing of the DAG included"""
    missing: tuple[str, ...] = ()
    """of the two commits, those that no repository here has: then nothing can be said"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing `check` objects to."""

    kind: Literal["import", "size", "clash", "unstable"]
    file: str
    message: str
    dag_id: str | None = None
    line: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` looked at and what it objects to."""

    repo: str
    commit: str
    base: str | None
    dags: int
    files: int
    findings: tuple[Finding, ...]
    comparison: Comparison | None = None
    engine: str = "airflow"
    """what parsed; only of Airflow does a pass mean that the files import"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a try ran with, beside its commit; what is not known is empty."""

    airflow: str = ""
    python: str = ""
    image: str = ""
    """digest of the container's image"""
    packages: str = ""
    """hash of the names and versions of the installed distributions"""


StampSource = Literal[
    "scheduler", "worker", "path", "imported", "manual", "refresh", "deployment", "checkout", "date"
]
"""Who says so: the run's bundle version as the scheduler has it; the worker's bundle; the commit in the
path of the DAG file below a mount; where Airflow's bundle stood; where a recorded deployment had put
the ref; HEAD of the checkout; a person; a past run's row in Airflow's database; commit dates."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One event of a run, or of one of its tries. Kept for good, never changed."""

    id: str
    airflow: str
    """name of the installation: two may have runs with the same ids"""
    dag_id: str
    run_id: str
    state: str
    source: StampSource
    at: datetime
    task_id: str | None = None
    """None for an event of the run itself"""
    map_index: int = -1
    try_number: int = 0
    ti_id: str | None = None
    """UUID of the task instance, where Airflow has one"""
    run_uid: str | None = None
    """Airflow's own id of the run's row: another one is another run, whatever its run id"""
    repo: str | None = None
    commit: str | None = None
    bundle: str | None = None
    path: str | None = None
    """of the DAG file or its bundle on the host that ran it"""
    dirty: bool = False
    """whether the checkout had changes that no commit has"""
    runtime: Runtime = Runtime()


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a task instance, made of its events."""

    task_id: str
    map_index: int
    try_number: int
    repo: str | None
    commit: str | None
    state: str
    source: str
    stamped_at: datetime
    ti_id: str | None = None
    conflict: bool = False
    """whether its events name different commits"""
    dirty: bool = False
    dag_hash: str | None = None
    runtime: Runtime = Runtime()


@dataclass(frozen=True, slots=True)
class RunStamp:
    """A DagRun and the commit it began with, made of its events."""

    airflow: str
    dag_id: str
    run_id: str
    generation: int
    """1, and one more each time a run was deleted and made again under the same run id"""
    repo: str | None
    commit: str | None
    source: str
    stamped_at: datetime
    state: str
    bundle: str | None = None
    conflict: bool = False
    """whether sources name different commits for the run or one of its tries"""
    dirty: bool = False
    dag_hash: str | None = None
    """None until its document is made"""
    code_hash: str | None = None
    doubt: str | None = None
    """why it has no document: unknown repository, unknown commit, unknown dag, import error"""
    unstable: bool = False
    """whether the DAG parses to other bytes each time: the document is the last one of that commit"""
    moved_to: tuple[str, ...] = ()
    """commits the run went to later, by being cleared to a newer version"""
    tries: tuple[Try, ...] = ()
    id: int = 0

    @property
    def flags(self) -> tuple[str, ...]:
        """What there is to say of it besides, in words."""
        words = (
            ("conflict", self.conflict),
            ("dirty", self.dirty),
            ("inferred", self.source in ("refresh", "deployment", "checkout", "date")),
            ("shapeshifting", self.unstable),
            (self.doubt or "", bool(self.doubt)),
            (f"made again ({self.generation})", self.generation > 1),
        )
        return tuple(word for word, holds in words if holds)


Scope = Literal["read", "stamp", "admin"]
"""What a token is good for: reading; adding stamps and nothing else; everything."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token as it is kept; its secret is not."""

    id: str
    name: str
    scope: Scope
    repository: str | None
    """the only repository it is good for; None: all that its name may read"""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it opens anything at that moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
