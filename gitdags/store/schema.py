"""The tables. What hangs on a commit or a hash is written once and never changed.

`migrations` makes them; a test holds the two to each other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

REVISION = "0003"
"""The migration that these tables are the result of."""

Sha = String(40)
Hash = String(64)
Serial = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself there


class Moment(TypeDecorator[datetime]):
    """An aware time, kept as UTC without a zone, which SQLite and PostgreSQL hold alike."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware in, naive UTC to the database."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Naive UTC from the database, aware out."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

repositories = Table(
    "repositories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    Column("path", Text, nullable=False),
    Column("url", Text),
    Column("dags_folder", Text),
    Column("env_file", Text),
    Column("pull_requests", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("id", Hash, primary_key=True),
    Column("family", Hash, nullable=False),
    Column("engine", String(16), nullable=False),
    Column("airflow", String(64), nullable=False),
    Column("python", String(64), nullable=False),
    Column("providers", Text, nullable=False),  # a JSON object, name -> version
    Column("env_file", Hash),
    Column("plugins", Sha),
    Column("layout", Hash, nullable=False),
    Column("created_at", Moment, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("dag_hash", Hash, primary_key=True),
    Column("dag_id", Text, nullable=False),
    Column("body", Text, nullable=False),  # exactly what was hashed: RFC 8785, UTF-8
    Column("tasks", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
)

airflow_documents = Table(
    "airflow_documents",
    metadata,
    Column("dag_hash", Hash, ForeignKey("documents.dag_hash"), primary_key=True),
    Column("environment_id", Hash, ForeignKey("environments.id"), primary_key=True),
    Column("body", Text, nullable=False),  # Airflow's own JSON of the DAG
)

codes = Table(
    "codes",
    metadata,
    Column("code_hash", Hash, primary_key=True),
    Column("files", Text, nullable=False),  # the JSON array of [path, blob id] that was hashed
)

manifests = Table(
    "manifests",
    metadata,
    Column("hash", Hash, primary_key=True),
    Column("dags", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
)

manifest_dags = Table(
    "manifest_dags",
    metadata,
    Column("manifest_hash", Hash, ForeignKey("manifests.hash"), primary_key=True),
    Column("dag_id", Text, primary_key=True),
    Column("file", Text, primary_key=True),  # two files may define one dag_id: both are kept
    Column("dag_hash", Hash, ForeignKey("documents.dag_hash"), nullable=False),
    Column("code_hash", Hash, ForeignKey("codes.code_hash"), nullable=False),
    Column("guesses", Text, nullable=False),  # JSON arrays; what an engine could not know
    Column("placeholders", Text, nullable=False),
    Index(None, "dag_id"),
    Index(None, "dag_hash"),
)

manifest_errors = Table(
    "manifest_errors",
    metadata,
    Column("manifest_hash", Hash, ForeignKey("manifests.hash"), primary_key=True),
    Column("file", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("type", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Index(None, "file"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("repository_id", Integer, ForeignKey("repositories.id"), primary_key=True),
    Column("commit", Sha, primary_key=True),
    Column("environment_id", Hash, ForeignKey("environments.id"), primary_key=True),
    Column("tree", Sha, nullable=False),
    Column("manifest_hash", Hash, ForeignKey("manifests.hash"), nullable=False),
    Column("indexed_at", Moment, nullable=False),
    Column("parsed", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Index(None, "manifest_hash"),
    Index("ix_snapshots_tree", "repository_id", "tree", "environment_id"),
)

ref_updates = Table(
    "ref_updates",
    metadata,
    Column("repository_id", Integer, ForeignKey("repositories.id"), primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("commit", Sha, nullable=False),
    Column("at", Moment, nullable=False),
)

# ── runs: what hangs on a name, not on a commit. Events are only ever added. ──────────────────

deployments = Table(
    "deployments",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("key", Hash, nullable=False, unique=True),  # the same record twice is one row
    Column("repo", String(63), nullable=False),  # by name: it need not be registered here
    Column("ref", Text, nullable=False),
    Column("old", Sha),
    Column("new", Sha),
    Column("at", Moment, nullable=False),
    Column("by", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Index("ix_deployments_ref", "repo", "ref", "at"),
    Index("ix_deployments_at", "at"),
)

runtimes = Table(
    "runtimes",
    metadata,
    Column("id", Hash, primary_key=True),
    Column("airflow", Text, nullable=False),
    Column("python", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("packages", Text, nullable=False),
)

stamps = Table(
    "stamps",
    metadata,
    Column("seq", Serial, primary_key=True),
    Column("id", Hash, nullable=False, unique=True),
    Column("airflow", Text, nullable=False),
    Column("dag_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("task_id", Text),
    Column("map_index", Integer, nullable=False),
    Column("try_number", Integer, nullable=False),
    Column("ti_id", Text),
    Column("run_uid", Text),
    Column("state", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("repo", Text),
    Column("commit", Text),  # as it was said, which may be no commit at all
    Column("bundle", Text),
    Column("path", Text),
    Column("dirty", Boolean, nullable=False),
    Column("runtime_id", Hash, ForeignKey("runtimes.id"), nullable=False),
    Column("at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Index("ix_stamps_try", "airflow", "dag_id", "run_id", "task_id", "map_index", "try_number"),
)

executed_documents = Table(
    "executed_documents",
    metadata,
    Column("hash", Hash, primary_key=True),
    Column("body", Text, nullable=False),  # Airflow's serialized DAG, as it executed it
)

runs = Table(
    "runs",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("airflow", Text, nullable=False),
    Column("dag_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("repo", Text),
    Column("commit", Text),
    Column("bundle", Text),
    Column("source", String(16), nullable=False),
    Column("stamped_at", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("conflict", Boolean, nullable=False),
    Column("dirty", Boolean, nullable=False),
    Column("moved_to", Text, nullable=False),  # a JSON array of commits
    # Set once, when the document is made.
    Column("dag_hash", Hash, ForeignKey("documents.dag_hash")),
    Column("code_hash", Hash, ForeignKey("codes.code_hash")),
    Column("doubt", Text),
    Column("unstable", Boolean, nullable=False),
    Column("executed_hash", Hash, ForeignKey("executed_documents.hash")),
    UniqueConstraint("airflow", "dag_id", "run_id", "generation"),
    Index("ix_runs_dag", "dag_id", "stamped_at"),
    Index("ix_runs_commit", "commit", "stamped_at"),
    Index("ix_runs_at", "stamped_at"),
    Index("ix_runs_document", "dag_hash"),
    Index(
        "ix_runs_unsettled",
        "id",
        sqlite_where=text("dag_hash IS NULL AND doubt IS NULL"),
        postgresql_where=text("dag_hash IS NULL AND doubt IS NULL"),
    ),
)

tries = Table(
    "tries",
    metadata,
    Column("run", Serial, ForeignKey("runs.id"), primary_key=True, autoincrement=False),
    Column("task_id", Text, primary_key=True),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    Column("try_number", Integer, primary_key=True, autoincrement=False),
    Column("repo", Text),
    Column("commit", Text),
    Column("state", Text, nullable=False),
    Column("source", String(16), nullable=False),
    Column("stamped_at", Moment, nullable=False),
    Column("ti_id", Text),
    Column("conflict", Boolean, nullable=False),
    Column("dirty", Boolean, nullable=False),
    Column("dag_hash", Hash, ForeignKey("documents.dag_hash")),
    Column("doubt", Text),
    Column("runtime_id", Hash, ForeignKey("runtimes.id"), nullable=False),
    Index("ix_tries_commit", "commit"),
)

rendered_fields = Table(
    "rendered_fields",
    metadata,
    Column("run", Serial, ForeignKey("runs.id"), primary_key=True, autoincrement=False),
    Column("task_id", Text, primary_key=True),
    Column("map_index", Integer, primary_key=True, autoincrement=False),
    Column("try_number", Integer, primary_key=True, autoincrement=False),
    Column("fields", Text, nullable=False),  # a JSON object, secrets masked
)

# ── who speaks to a server ────────────────────────────────────────────────────────────────────

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", String(8), nullable=False),
    Column("repository", String(63)),
    Column("digest", Hash, nullable=False),  # SHA-256 of the secret
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("sender", String(16), primary_key=True),
    Column("delivery", Text, primary_key=True),  # the id that the sender gave it
    Column("received_at", Moment, nullable=False),
    Index(None, "received_at"),
)
