"""Reading and writing the store. Every write may be repeated, and raced by another process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    and_,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from gitdags.errors import GitdagsError, shown
from gitdags.model import (
    ListedDag,
    Listing,
    ParseFailure,
    RegisteredRepository,
    StoredEnvironment,
)
from gitdags.serialize import document
from gitdags.serialize.document import Document
from gitdags.serialize.environment import Environment
from gitdags.store import schema as t

_CHUNK = 500  # values in one IN (...); SQLite's oldest limit on variables is 999


class StoreUnavailable(GitdagsError):
    """The database cannot be reached, read or written."""

    http_status = 503


class NewerStore(GitdagsError):
    """The store was made by a later gitdags."""

    http_status = 503


class OlderStore(GitdagsError):
    """The store wants `gitdags db upgrade`."""

    http_status = 503


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an index run found at one commit, on its way into the store."""

    commit: str
    tree: str
    environment: Environment
    dags: tuple[tuple[Document, str, str], ...]
    """(document, file, code hash)"""
    errors: tuple[ParseFailure, ...]
    codes: Mapping[str, str]
    """code hash -> the JSON that was hashed"""
    airflow: Mapping[str, str]
    """dag hash -> Airflow's own JSON"""
    parsed: int
    seconds: float


class Store:
    """One database. Made on first use; never changed to another schema without being asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        self._checked = False

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    # ── schema ────────────────────────────────────────────────────────────────────────────

    def revision(self) -> str | None:
        """The schema the database has, None for an empty one. Raises StoreUnavailable."""
        with self._guard(), self._engine.connect() as connection:
            return _revision(connection)

    def upgrade(self) -> str:
        """Bring the schema to this version's; the revision reached. Raises NewerStore."""
        from gitdags.store import migrate  # Alembic takes longer to import than most commands run

        with self._guard():
            self._make_folder()
            with self._engine.connect() as connection:
                writer = connection.execution_options(gitdags_write=True)
                with writer.begin():
                    _refuse_newer(_revision(writer))
                    migrate.upgrade(writer)
        self._checked = True
        return t.REVISION

    def _connect(self) -> Engine:
        """The engine, once the schema is known to be ours; an empty database gets it."""
        if not self._checked:
            self._make_folder()
            found = self.revision()
            if found is None:
                self.upgrade()
            elif found != t.REVISION:
                _refuse_newer(found)
                raise OlderStore(
                    f"the store has schema {found}, this gitdags wants {t.REVISION}",
                    hint="gitdags db upgrade",
                )
            self._checked = True
        return self._engine

    def _make_folder(self) -> None:
        database = self._engine.url.database
        if self._engine.dialect.name == "sqlite" and database and database != ":memory:":
            try:
                Path(database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailable(
                    f"cannot make {Path(database).parent}: {error.strerror}",
                    hint="gitdags -c home=/some/writable/folder repos",
                ) from None

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _unavailable(self._engine, error) from None

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._guard(), self._connect().connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._guard(), self._connect().connect() as connection:
            writer = connection.execution_options(gitdags_write=True)
            with writer.begin():
                yield writer

    # ── repositories ──────────────────────────────────────────────────────────────────────

    def repositories(self) -> list[RegisteredRepository]:
        """Every registered repository, by name."""
        with self._read() as db:
            rows = db.execute(select(t.repositories).order_by(t.repositories.c.name))
            return [_repository(row) for row in rows]

    def register(self, repository: RegisteredRepository) -> RegisteredRepository:
        """Add a repository, or change what is known of the one with that name."""
        values = {
            "path": repository.path,
            "url": repository.url,
            "dags_folder": repository.dags_folder,
            "env_file": repository.env_file,
            "pull_requests": repository.pull_requests,
        }
        with self._write() as db:
            found = update(t.repositories).where(t.repositories.c.name == repository.name)
            if db.execute(found.values(**values)).rowcount == 0:
                db.execute(
                    insert(t.repositories).values(
                        name=repository.name, created_at=datetime.now(UTC), **values
                    )
                )
            where = t.repositories.c.name == repository.name
            return _repository(db.execute(select(t.repositories).where(where)).one())

    # ── writing what a commit holds ───────────────────────────────────────────────────────

    def save(self, repo: RegisteredRepository, snapshot: Snapshot) -> int:
        """Store a commit's DAGs and failures in one transaction; the number of new documents."""
        now = datetime.now(UTC)
        environment = snapshot.environment.id
        manifest, dags, errors = _manifest(snapshot)
        with self._write() as db:
            self._add(db, t.environments, [_environment_row(snapshot.environment, now)])
            new = self._add(
                db,
                t.documents,
                [
                    {
                        "dag_hash": doc.dag_hash,
                        "dag_id": doc.dag_id,
                        "body": doc.text,
                        "tasks": doc.tasks,
                        "created_at": now,
                    }
                    for doc, _, _ in snapshot.dags
                ],
            )
            self._add(
                db,
                t.airflow_documents,
                [
                    {"dag_hash": key, "environment_id": environment, "body": body}
                    for key, body in snapshot.airflow.items()
                ],
            )
            self._add(
                db, t.codes, [{"code_hash": k, "files": v} for k, v in snapshot.codes.items()]
            )
            row = {"hash": manifest, "dags": len(dags), "errors": len(errors)}
            if self._add(db, t.manifests, [row]):
                self._add(db, t.manifest_dags, dags)
                self._add(db, t.manifest_errors, errors)
            self._add(
                db,
                t.snapshots,
                [
                    {
                        "repository_id": repo.id,
                        "commit": snapshot.commit,
                        "environment_id": environment,
                        "tree": snapshot.tree,
                        "manifest_hash": manifest,
                        "indexed_at": now,
                        "parsed": snapshot.parsed,
                        "seconds": snapshot.seconds,
                    }
                ],
            )
        return new

    def share(
        self, repo: RegisteredRepository, commit: str, tree: str, environment: Environment
    ) -> bool:
        """Give a commit what another commit with the same tree holds; False if there is none."""
        s = t.snapshots
        same = and_(
            s.c.repository_id == repo.id, s.c.tree == tree, s.c.environment_id == environment.id
        )
        with self._write() as db:
            manifest = db.execute(select(s.c.manifest_hash).where(same).limit(1)).scalar()
            if manifest is None:
                return False
            row = {
                "repository_id": repo.id,
                "commit": commit,
                "environment_id": environment.id,
                "tree": tree,
                "manifest_hash": manifest,
                "indexed_at": datetime.now(UTC),
                "parsed": 0,
                "seconds": 0.0,
            }
            self._add(db, s, [row])
            return True

    def _add(self, db: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
        """Insert the rows that are not there yet; how many those were."""
        if not rows:
            return 0
        make = postgresql_insert if self._engine.dialect.name == "postgresql" else sqlite_insert
        statement = make(table).on_conflict_do_nothing()
        # One statement a row where the count matters: executemany reports none.
        return sum(db.execute(statement, row).rowcount for row in rows)

    # ── reading what commits hold ─────────────────────────────────────────────────────────

    def indexed(self, repo: RegisteredRepository) -> dict[str, list[str]]:
        """commit -> ids of the environments it was indexed in, newest environment first."""
        s, e = t.snapshots, t.environments
        query = (
            select(s.c.commit, s.c.environment_id)
            .join(e, e.c.id == s.c.environment_id)
            .where(s.c.repository_id == repo.id)
            .order_by(e.c.engine != "airflow", e.c.created_at.desc())
        )
        found: dict[str, list[str]] = {}
        with self._read() as db:
            for commit, environment in db.execute(query):
                found.setdefault(commit, []).append(environment)
        return found

    def environments_of(self, repo: RegisteredRepository, commit: str) -> list[StoredEnvironment]:
        """The environments a commit was indexed in: exact engines first, then the newest."""
        s, e = t.snapshots, t.environments
        query = (
            select(e)
            .join(s, e.c.id == s.c.environment_id)
            .where(s.c.repository_id == repo.id, s.c.commit == commit)
            .order_by(e.c.engine != "airflow", e.c.created_at.desc())
        )
        with self._read() as db:
            return [_stored_environment(row) for row in db.execute(query)]

    def environments(self) -> dict[str, StoredEnvironment]:
        """Every environment something was parsed in, by id."""
        with self._read() as db:
            rows = db.execute(select(t.environments))
            return {row.id: _stored_environment(row) for row in rows}

    def manifests(
        self, repo: RegisteredRepository, commits: Iterable[str], environments: Sequence[str]
    ) -> dict[str, str]:
        """commit -> manifest hash, for the commits indexed in the first fitting environment."""
        s = t.snapshots
        rank = {environment: i for i, environment in enumerate(environments)}
        found: dict[str, tuple[int, str]] = {}
        with self._read() as db:
            for chunk in _chunks(commits):
                query = select(s.c.commit, s.c.environment_id, s.c.manifest_hash).where(
                    s.c.repository_id == repo.id,
                    s.c.commit.in_(chunk),
                    s.c.environment_id.in_(list(rank)),
                )
                for commit, environment, manifest in db.execute(query):
                    better = (rank[environment], manifest)
                    found[commit] = min(found.get(commit, better), better)
        return {commit: manifest for commit, (_, manifest) in found.items()}

    def dags_of(
        self, manifests: Iterable[str], dag_id: str | None = None
    ) -> dict[str, list[ListedDag]]:
        """manifest hash -> its DAGs by id and file, or only the rows of one DAG."""
        d, doc = t.manifest_dags, t.documents
        found: dict[str, list[ListedDag]] = {m: [] for m in manifests}
        with self._read() as db:
            for chunk in _chunks(found):
                query = (
                    select(d, doc.c.tasks)
                    .join(doc, doc.c.dag_hash == d.c.dag_hash)
                    .where(d.c.manifest_hash.in_(chunk))
                    .order_by(d.c.dag_id, d.c.file)
                )
                if dag_id is not None:
                    query = query.where(d.c.dag_id == dag_id)
                for row in db.execute(query):
                    found[row.manifest_hash].append(_listed(row))
        return found

    def errors_of(self, manifests: Iterable[str]) -> dict[str, list[ParseFailure]]:
        """manifest hash -> its failures, by file."""
        e = t.manifest_errors
        found: dict[str, list[ParseFailure]] = {m: [] for m in manifests}
        with self._read() as db:
            for chunk in _chunks(found):
                query = (
                    select(e).where(e.c.manifest_hash.in_(chunk)).order_by(e.c.file, e.c.position)
                )
                for row in db.execute(query):
                    found[row.manifest_hash].append(
                        ParseFailure(row.file, row.type, row.message, row.traceback)
                    )
        return found

    def listing(
        self, repo: RegisteredRepository, commit: str, environment: StoredEnvironment
    ) -> Listing | None:
        """What a commit holds in an environment; None where it was not indexed in it."""
        manifest = self.manifests(repo, [commit], [environment.id]).get(commit)
        if manifest is None:
            return None
        dags = [_with_environment(dag, environment) for dag in self.dags_of([manifest])[manifest]]
        errors = self.errors_of([manifest])[manifest]
        return Listing(repo.name, commit, environment.id, tuple(dags), tuple(errors))

    def files_with_dags(self, repo: RegisteredRepository, files: Iterable[str]) -> set[str]:
        """The manifests of a repository in which one of the files defines a DAG."""
        d, s = t.manifest_dags, t.snapshots
        found: set[str] = set()
        with self._read() as db:
            for chunk in _chunks(files):
                query = (
                    select(d.c.manifest_hash)
                    .distinct()
                    .join(s, s.c.manifest_hash == d.c.manifest_hash)
                    .where(s.c.repository_id == repo.id, d.c.file.in_(chunk))
                )
                found.update(db.execute(query).scalars())
        return found

    def document(self, dag_hash: str) -> str | None:
        """The canonical text stored under a hash."""
        return self.documents([dag_hash]).get(dag_hash)

    def documents(self, hashes: Iterable[str]) -> dict[str, str]:
        """hash -> canonical text, for the hashes that are there."""
        d = t.documents
        found: dict[str, str] = {}
        with self._read() as db:
            for chunk in _chunks(hashes):
                query = select(d.c.dag_hash, d.c.body).where(d.c.dag_hash.in_(chunk))
                found.update((key, body) for key, body in db.execute(query))
        return found

    def airflow_document(self, dag_hash: str, environment: str | None = None) -> str | None:
        """Airflow's own JSON of a document, in one environment or in any."""
        a = t.airflow_documents
        query = select(a.c.body).where(a.c.dag_hash == dag_hash).limit(1)
        if environment is not None:
            query = query.where(a.c.environment_id == environment)
        with self._read() as db:
            return db.execute(query).scalar()

    def code(self, code_hash: str) -> list[tuple[str, str]]:
        """The (path, blob id) pairs behind a code hash; [] for an unknown one."""
        with self._read() as db:
            query = select(t.codes.c.files).where(t.codes.c.code_hash == code_hash)
            text_ = db.execute(query).scalar()
        return [(path, blob) for path, blob in json.loads(text_ or "[]")]

    def dag_ids(self, repo: RegisteredRepository) -> list[str]:
        """Every dag_id ever seen in a repository."""
        d, s = t.manifest_dags, t.snapshots
        query = (
            select(d.c.dag_id)
            .distinct()
            .join(s, s.c.manifest_hash == d.c.manifest_hash)
            .where(s.c.repository_id == repo.id)
            .order_by(d.c.dag_id)
        )
        with self._read() as db:
            return list(db.execute(query).scalars())

    def counts(self) -> dict[str, int]:
        """Rows per table, for `doctor`."""
        with self._read() as db:
            return {
                table.name: db.execute(select(func.count()).select_from(table)).scalar() or 0
                for table in (t.repositories, t.documents, t.manifests, t.snapshots)
            }

    # ── moving refs ───────────────────────────────────────────────────────────────────────

    def ref_updated(self, repo: RegisteredRepository, ref: str) -> tuple[str, datetime] | None:
        """(commit, when) of the last update of a moving ref."""
        r = t.ref_updates
        query = select(r.c.commit, r.c.at).where(r.c.repository_id == repo.id, r.c.ref == ref)
        with self._read() as db:
            row = db.execute(query).one_or_none()
        return None if row is None else (row.commit, row.at)

    def update_ref(self, repo: RegisteredRepository, ref: str, commit: str) -> None:
        """Note that a moving ref was brought up to date now."""
        r = t.ref_updates
        values = {"commit": commit, "at": datetime.now(UTC)}
        with self._write() as db:
            where = and_(r.c.repository_id == repo.id, r.c.ref == ref)
            if db.execute(update(r).where(where).values(**values)).rowcount == 0:
                self._add(db, r, [{"repository_id": repo.id, "ref": ref, **values}])


# ── rows ──────────────────────────────────────────────────────────────────────────────────────


def _manifest(snapshot: Snapshot) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """(hash, DAG rows, error rows): equal content has an equal hash, whichever commit it is of."""
    dags = sorted({(doc.dag_id, file, doc.dag_hash, code) for doc, file, code in snapshot.dags})
    errors = [(e.file, e.type, e.message, e.traceback) for e in snapshot.errors]
    key = document.digest(document.canonical([list(map(list, dags)), list(map(list, errors))]))
    return (
        key,
        [
            {
                "manifest_hash": key,
                "dag_id": dag_id,
                "file": file,
                "dag_hash": dag_hash,
                "code_hash": code,
                "guesses": "[]",
                "placeholders": "[]",
            }
            for dag_id, file, dag_hash, code in dags
        ],
        [
            {
                "manifest_hash": key,
                "file": file,
                "position": i,
                "type": kind,
                "message": message,
                "traceback": traceback,
            }
            for i, (file, kind, message, traceback) in enumerate(errors)
        ],
    )


def _environment_row(environment: Environment, now: datetime) -> dict[str, Any]:
    return {
        "id": environment.id,
        "family": environment.family,
        "engine": environment.engine,
        "airflow": environment.airflow,
        "python": environment.python,
        "providers": json.dumps(dict(environment.providers), sort_keys=True),
        "env_file": environment.env_file,
        "plugins": environment.plugins,
        "layout": environment.layout,
        "created_at": now,
    }


def _repository(row: Any) -> RegisteredRepository:
    return RegisteredRepository(
        row.name, row.path, row.url, row.dags_folder, row.env_file, row.pull_requests, row.id
    )


def _stored_environment(row: Any) -> StoredEnvironment:
    return StoredEnvironment(
        row.id,
        row.family,
        row.engine,
        row.airflow,
        row.python,
        row.env_file,
        row.plugins,
        row.layout,
        row.created_at,
    )


def _listed(row: Any) -> ListedDag:
    return ListedDag(
        row.dag_id,
        row.file,
        row.dag_hash,
        row.code_hash,
        row.tasks,
        "",
        "",
        tuple(json.loads(row.guesses)),
        tuple(json.loads(row.placeholders)),
    )


def _with_environment(dag: ListedDag, environment: StoredEnvironment) -> ListedDag:
    return ListedDag(
        dag.dag_id,
        dag.file,
        dag.dag_hash,
        dag.code_hash,
        dag.tasks,
        environment.id,
        environment.engine,
        dag.guesses,
        dag.placeholders,
    )


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    items = list(values)
    for at in range(0, len(items), _CHUNK):
        yield items[at : at + _CHUNK]


# ── the engine ────────────────────────────────────────────────────────────────────────────────


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        engine = create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        missing = isinstance(error, ModuleNotFoundError)
        raise StoreUnavailable(
            f"GITDAGS_DB: {shown(str(error))}",
            hint="pip install 'gitdags[postgres]'" if missing else "gitdags config",
        ) from None
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise StoreUnavailable(
            f"GITDAGS_DB: {engine.dialect.name} is neither SQLite nor PostgreSQL",
            hint="gitdags config",
        )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver must not begin transactions by itself: it would do so too late for a write lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 30000")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = NORMAL")
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A write that begins as a read cannot wait for another writer: SQLite fails it at once.
    writes = connection.get_execution_options().get("gitdags_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(connection: Connection) -> str | None:
    """The revision Alembic noted, or None; its table is absent in an empty database."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _refuse_newer(found: str | None) -> None:
    if found is not None and found > t.REVISION:
        raise NewerStore(
            f"the store has schema {found}; this gitdags knows {t.REVISION} and before",
            hint="pip install --upgrade gitdags",
        )


def _unavailable(engine: Engine, error: DBAPIError) -> StoreUnavailable:
    reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    where = engine.url.render_as_string(hide_password=True)
    if "full" in reason:
        hint = "df -h"
    elif "readonly" in reason or "unable to open" in reason:
        hint = "gitdags -c home=/some/writable/folder repos"
    else:
        hint = "gitdags doctor"
    return StoreUnavailable(f"the store {where}: {shown(reason, 200)}", hint=hint)
