"""Reading and writing the store. Every write may be repeated, and raced by another process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import and_, func, insert, select, update

from gitdags.model import (
    ListedDag,
    Listing,
    ParseFailure,
    RegisteredRepository,
    StoredEnvironment,
)
from gitdags.serialize.environment import Environment
from gitdags.store import rows
from gitdags.store import schema as t
from gitdags.store.database import Database, chunks
from gitdags.store.deployments import Deployments
from gitdags.store.evidence import Evidence
from gitdags.store.garbage import Garbage
from gitdags.store.rows import Snapshot
from gitdags.store.runs import Runs
from gitdags.store.stamps import Stamps
from gitdags.store.tokens import Tokens

_REMEMBERED = 50_000
_DIFFERENCES: dict[tuple[str, str], frozenset[str]] = {}
"""What `Store.difference` found, for all stores of this process: manifests are addressed by their content."""


class Store(Database):
    """Repositories, and what their commits hold; deployments and runs beside them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.deployments = Deployments(self)
        self.stamps = Stamps(self)
        self.runs = Runs(self)
        self.evidence = Evidence(self)
        self.garbage = Garbage(self)
        self.tokens = Tokens(self)
        self._snapshots: dict[int, tuple[int, dict[str, list[tuple[str, str]]]]] = {}

    # ── repositories ──────────────────────────────────────────────────────────────────────

    def repositories(self) -> list[RegisteredRepository]:
        """Every registered repository, by name."""
        with self.read() as db:
            found = db.execute(select(t.repositories).order_by(t.repositories.c.name))
            return [rows.repository(row) for row in found]

    def register(self, repository: RegisteredRepository) -> RegisteredRepository:
        """Add a repository, or change what is known of the one with that name."""
        values = {
            "path": repository.path,
            "url": repository.url,
            "dags_folder": repository.dags_folder,
            "env_file": repository.env_file,
            "pull_requests": repository.pull_requests,
        }
        with self.write() as db:
            found = update(t.repositories).where(t.repositories.c.name == repository.name)
            if db.execute(found.values(**values)).rowcount == 0:
                db.execute(
                    insert(t.repositories).values(
                        name=repository.name, created_at=datetime.now(UTC), **values
                    )
                )
            where = t.repositories.c.name == repository.name
            return rows.repository(db.execute(select(t.repositories).where(where)).one())

    # ── writing what a commit holds ───────────────────────────────────────────────────────

    def save(self, repo: RegisteredRepository, snapshot: Snapshot) -> int:
        """Store a commit's DAGs and failures in one transaction; the number of new documents."""
        now = datetime.now(UTC)
        environment = snapshot.environment.id
        manifest, dags, errors = rows.manifest_rows(snapshot)
        with self.write() as db:
            self.share_turn(db, "documents")
            self.add(db, t.environments, [rows.environment_row(snapshot.environment, now)])
            new = self.add(
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
                    for doc in (found.document for found in snapshot.dags)
                ],
            )
            self.add(
                db,
                t.airflow_documents,
                [
                    {"dag_hash": key, "environment_id": environment, "body": body}
                    for key, body in snapshot.airflow.items()
                ],
            )
            self.add(db, t.codes, [{"code_hash": k, "files": v} for k, v in snapshot.codes.items()])
            row = {"hash": manifest, "dags": len(dags), "errors": len(errors)}
            if self.add(db, t.manifests, [row]):
                self.add(db, t.manifest_dags, dags)
                self.add(db, t.manifest_errors, errors)
            self.add(
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
        with self.write() as db:
            self.share_turn(db, "documents")
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
            self.add(db, s, [row])
            return True

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
        with self.read() as db:
            for commit, environment in db.execute(query):
                found.setdefault(commit, []).append(environment)
        return found

    def failing(self, repo: RegisteredRepository, environments: Iterable[str]) -> set[str]:
        """The commits that hold a file which failed in one of the environments."""
        s, m = t.snapshots, t.manifests
        query = (
            select(s.c.commit)
            .join(m, m.c.hash == s.c.manifest_hash)
            .where(
                s.c.repository_id == repo.id,
                s.c.environment_id.in_(list(environments)),
                m.c.errors > 0,
            )
        )
        with self.read() as db:
            return set(db.execute(query).scalars())

    def snapshots(self, repo: RegisteredRepository) -> dict[str, list[tuple[str, str]]]:
        """commit -> (environment id, manifest hash) of all its snapshots, as `indexed` orders them.

        Kept until the number of snapshots is another one: a long walk asks for all of them at once.
        """
        count = self.snapshot_count(repo)
        known = self._snapshots.get(repo.id)
        if known is not None and known[0] == count:
            return known[1]
        s, e = t.snapshots, t.environments
        query = (
            select(s.c.commit, s.c.environment_id, s.c.manifest_hash)
            .join(e, e.c.id == s.c.environment_id)
            .where(s.c.repository_id == repo.id)
            .order_by(e.c.engine != "airflow", e.c.created_at.desc())
        )
        found: dict[str, list[tuple[str, str]]] = {}
        with self.read() as db:
            for commit, environment, manifest in db.execute(query):
                found.setdefault(commit, []).append((environment, manifest))
        self._snapshots[repo.id] = (count, found)
        return found

    def located(
        self, repo: RegisteredRepository, commit: str
    ) -> list[tuple[StoredEnvironment, str]]:
        """(environment, manifest hash) of a commit's snapshots, as `environments_of` orders them."""
        s, e = t.snapshots, t.environments
        query = (
            select(e, s.c.manifest_hash)
            .join(s, e.c.id == s.c.environment_id)
            .where(s.c.repository_id == repo.id, s.c.commit == commit)
            .order_by(e.c.engine != "airflow", e.c.created_at.desc())
        )
        with self.read() as db:
            return [(rows.stored_environment(r), r.manifest_hash) for r in db.execute(query)]

    def snapshot_count(self, repo: RegisteredRepository) -> int:
        """How many commits of a repository are indexed, in all environments together."""
        s = t.snapshots
        query = select(func.count()).select_from(s).where(s.c.repository_id == repo.id)
        with self.read() as db:
            return db.execute(query).scalar() or 0

    def environments_of(self, repo: RegisteredRepository, commit: str) -> list[StoredEnvironment]:
        """The environments a commit was indexed in: exact engines first, then the newest."""
        s, e = t.snapshots, t.environments
        query = (
            select(e)
            .join(s, e.c.id == s.c.environment_id)
            .where(s.c.repository_id == repo.id, s.c.commit == commit)
            .order_by(e.c.engine != "airflow", e.c.created_at.desc())
        )
        with self.read() as db:
            return [rows.stored_environment(row) for row in db.execute(query)]

    def environments(self) -> dict[str, StoredEnvironment]:
        """Every environment something was parsed in, by id."""
        with self.read() as db:
            found = db.execute(select(t.environments).order_by(t.environments.c.created_at.desc()))
            return {row.id: rows.stored_environment(row) for row in found}

    def manifests(
        self, repo: RegisteredRepository, commits: Iterable[str], environments: Sequence[str]
    ) -> dict[str, tuple[str, str]]:
        """commit -> (environment id, manifest hash), in the first environment it is indexed in."""
        s = t.snapshots
        rank = {environment: i for i, environment in enumerate(environments)}
        found: dict[str, tuple[int, str, str]] = {}
        with self.read() as db:
            for chunk in chunks(commits):
                query = select(s.c.commit, s.c.environment_id, s.c.manifest_hash).where(
                    s.c.repository_id == repo.id,
                    s.c.commit.in_(chunk),
                    s.c.environment_id.in_(list(rank)),
                )
                for commit, environment, manifest in db.execute(query):
                    better = (rank[environment], environment, manifest)
                    found[commit] = min(found.get(commit, better), better)
        return {commit: (environment, m) for commit, (_, environment, m) in found.items()}

    def dags_of(
        self, manifests: Iterable[str], dag_id: str | None = None
    ) -> dict[str, list[ListedDag]]:
        """manifest hash -> its DAGs by id and file, or only the rows of one DAG."""
        d, doc = t.manifest_dags, t.documents
        found: dict[str, list[ListedDag]] = {m: [] for m in manifests}
        with self.read() as db:
            for chunk in chunks(found):
                query = (
                    select(d, doc.c.tasks)
                    .join(doc, doc.c.dag_hash == d.c.dag_hash)
                    .where(d.c.manifest_hash.in_(chunk))
                    .order_by(d.c.dag_id, d.c.file)
                )
                if dag_id is not None:
                    query = query.where(d.c.dag_id == dag_id)
                for row in db.execute(query):
                    found[row.manifest_hash].append(rows.listed(row))
        return found

    def errors_of(self, manifests: Iterable[str]) -> dict[str, list[ParseFailure]]:
        """manifest hash -> its failures, by file."""
        e = t.manifest_errors
        found: dict[str, list[ParseFailure]] = {m: [] for m in manifests}
        with self.read() as db:
            for chunk in chunks(found):
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
        found = self.manifests(repo, [commit], [environment.id]).get(commit)
        if found is None:
            return None
        manifest = found[1]
        dags = [
            rows.with_environment(dag, environment) for dag in self.dags_of([manifest])[manifest]
        ]
        errors = self.errors_of([manifest])[manifest]
        return Listing(repo.name, commit, environment.id, tuple(dags), tuple(errors))

    def dag_at(
        self,
        repo: RegisteredRepository,
        commit: str,
        environment: StoredEnvironment,
        dag_id: str,
    ) -> list[ListedDag]:
        """The rows of one DAG at a commit; [] where it is not there, or the commit not indexed."""
        found = self.manifests(repo, [commit], [environment.id]).get(commit)
        if found is None:
            return []
        rows_found = self.dags_of([found[1]], dag_id)[found[1]]
        return [rows.with_environment(dag, environment) for dag in rows_found]

    def rows_of(self, manifest: str, dag_ids: Iterable[str]) -> list[ListedDag]:
        """The rows of some DAGs in a manifest, by id and file."""
        d, doc = t.manifest_dags, t.documents
        found: list[ListedDag] = []
        with self.read() as db:
            for chunk in chunks(sorted(dag_ids)):
                query = (
                    select(d, doc.c.tasks)
                    .join(doc, doc.c.dag_hash == d.c.dag_hash)
                    .where(d.c.manifest_hash == manifest, d.c.dag_id.in_(chunk))
                    .order_by(d.c.dag_id, d.c.file)
                )
                found += [rows.listed(row) for row in db.execute(query)]
        return found

    def differing(self, one: str, other: str) -> frozenset[str]:
        """The DAGs that two manifests do not have alike."""
        if one == other:
            return frozenset()
        pairs = ((one, other), (other, one))
        known = [_DIFFERENCES.get(pair) for pair in pairs]
        return frozenset().union(
            *(self.difference(*p) if k is None else k for p, k in zip(pairs, known, strict=True))
        )

    def difference(self, newer: str, older: str) -> frozenset[str]:
        """The DAGs of one manifest that another has not, or has otherwise; remembered for good."""
        d = t.manifest_dags
        columns = (d.c.dag_id, d.c.file, d.c.dag_hash, d.c.code_hash)
        now, was = (select(*columns).where(d.c.manifest_hash == m) for m in (newer, older))
        with self.read() as db:
            found = frozenset(row.dag_id for row in db.execute(now.except_(was)))
        if len(_DIFFERENCES) > _REMEMBERED:
            _DIFFERENCES.clear()
        _DIFFERENCES[newer, older] = found
        return found

    def known_difference(self, newer: str, older: str) -> frozenset[str] | None:
        """What `difference` gave before, or None."""
        return _DIFFERENCES.get((newer, older))

    def files_with_dags(self, repo: RegisteredRepository, files: Iterable[str]) -> set[str]:
        """The manifests of a repository in which one of the files defines a DAG."""
        d, s = t.manifest_dags, t.snapshots
        found: set[str] = set()
        with self.read() as db:
            for chunk in chunks(files):
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

    def holds(self, repo: RegisteredRepository, dag_hash: str) -> bool:
        """Whether some commit of a repository has the document."""
        d, s = t.manifest_dags, t.snapshots
        query = (
            select(d.c.dag_hash)
            .join(s, s.c.manifest_hash == d.c.manifest_hash)
            .where(d.c.dag_hash == dag_hash, s.c.repository_id == repo.id)
            .limit(1)
        )
        with self.read() as db:
            return db.execute(query).first() is not None

    def documents(self, hashes: Iterable[str]) -> dict[str, str]:
        """hash -> canonical text, for the hashes that are there."""
        d = t.documents
        found: dict[str, str] = {}
        with self.read() as db:
            for chunk in chunks(hashes):
                query = select(d.c.dag_hash, d.c.body).where(d.c.dag_hash.in_(chunk))
                found.update((key, body) for key, body in db.execute(query))
        return found

    def airflow_document(self, dag_hash: str, environment: str | None = None) -> str | None:
        """Airflow's own JSON of a document, in one environment or in any."""
        a = t.airflow_documents
        query = select(a.c.body).where(a.c.dag_hash == dag_hash).limit(1)
        if environment is not None:
            query = query.where(a.c.environment_id == environment)
        with self.read() as db:
            return db.execute(query).scalar()

    def code(self, code_hash: str) -> list[tuple[str, str]]:
        """The (path, blob id) pairs behind a code hash; [] for an unknown one."""
        return self.codes([code_hash]).get(code_hash, [])

    def codes(self, hashes: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
        """code hash -> its (path, blob id) pairs, for the hashes that are there."""
        c = t.codes
        found: dict[str, list[tuple[str, str]]] = {}
        with self.read() as db:
            for chunk in chunks(hashes):
                query = select(c.c.code_hash, c.c.files).where(c.c.code_hash.in_(chunk))
                for key, files in db.execute(query):
                    found[key] = [(path, blob) for path, blob in json.loads(files)]
        return found

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
        with self.read() as db:
            return list(db.execute(query).scalars())

    def counts(self) -> dict[str, int]:
        """Rows per table, for `doctor`."""
        with self.read() as db:
            return {
                table.name: db.execute(select(func.count()).select_from(table)).scalar() or 0
                for table in (t.repositories, t.documents, t.manifests, t.snapshots)
            }

    # ── moving refs ───────────────────────────────────────────────────────────────────────

    def ref_updated(self, repo: RegisteredRepository, ref: str) -> tuple[str, datetime] | None:
        """(commit, when) of the last update of a moving ref."""
        r = t.ref_updates
        query = select(r.c.commit, r.c.at).where(r.c.repository_id == repo.id, r.c.ref == ref)
        with self.read() as db:
            row = db.execute(query).one_or_none()
        return None if row is None else (row.commit, row.at)

    def update_ref(self, repo: RegisteredRepository, ref: str, commit: str) -> None:
        """Note that a moving ref was brought up to date now."""
        r = t.ref_updates
        values = {"commit": commit, "at": datetime.now(UTC)}
        with self.write() as db:
            where = and_(r.c.repository_id == repo.id, r.c.ref == ref)
            if db.execute(update(r).where(where).values(**values)).rowcount == 0:
                self.add(db, r, [{"repository_id": repo.id, "ref": ref, **values}])
