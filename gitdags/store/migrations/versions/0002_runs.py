"""Runs: deployments, stamps, and what is derived of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "deployments",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("repo", sa.String(length=63), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("old", sa.String(length=40), nullable=True),
        sa.Column("new", sa.String(length=40), nullable=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
        sa.UniqueConstraint("key", name=op.f("uq_deployments_key")),
    )
    op.create_index("ix_deployments_at", "deployments", ["at"], unique=False)
    op.create_index("ix_deployments_ref", "deployments", ["repo", "ref", "at"], unique=False)
    op.create_table(
        "executed_documents",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_executed_documents")),
    )
    op.create_table(
        "runtimes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("airflow", sa.Text(), nullable=False),
        sa.Column("python", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("packages", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runtimes")),
    )
    op.create_table(
        "runs",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("airflow", sa.Text(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("repo", sa.Text(), nullable=True),
        sa.Column("commit", sa.Text(), nullable=True),
        sa.Column("bundle", sa.Text(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("stamped_at", sa.DateTime(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("conflict", sa.Boolean(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("moved_to", sa.Text(), nullable=False),
        sa.Column("dag_hash", sa.String(length=64), nullable=True),
        sa.Column("code_hash", sa.String(length=64), nullable=True),
        sa.Column("doubt", sa.Text(), nullable=True),
        sa.Column("unstable", sa.Boolean(), nullable=False),
        sa.Column("executed_hash", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["code_hash"], ["codes.code_hash"], name=op.f("fk_runs_code_hash")),
        sa.ForeignKeyConstraint(
            ["dag_hash"], ["documents.dag_hash"], name=op.f("fk_runs_dag_hash")
        ),
        sa.ForeignKeyConstraint(
            ["executed_hash"], ["executed_documents.hash"], name=op.f("fk_runs_executed_hash")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint(
            "airflow", "dag_id", "run_id", "generation", name=op.f("uq_runs_airflow")
        ),
    )
    op.create_index("ix_runs_at", "runs", ["stamped_at"], unique=False)
    op.create_index("ix_runs_commit", "runs", ["commit", "stamped_at"], unique=False)
    op.create_index("ix_runs_dag", "runs", ["dag_id", "stamped_at"], unique=False)
    op.create_index("ix_runs_document", "runs", ["dag_hash"], unique=False)
    op.create_index(
        "ix_runs_unsettled",
        "runs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("dag_hash IS NULL AND doubt IS NULL"),
        postgresql_where=sa.text("dag_hash IS NULL AND doubt IS NULL"),
    )
    op.create_table(
        "stamps",
        sa.Column("seq", _SERIAL, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("airflow", sa.Text(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("ti_id", sa.Text(), nullable=True),
        sa.Column("run_uid", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("repo", sa.Text(), nullable=True),
        sa.Column("commit", sa.Text(), nullable=True),
        sa.Column("bundle", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("runtime_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["runtime_id"], ["runtimes.id"], name=op.f("fk_stamps_runtime_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_stamps")),
        sa.UniqueConstraint("id", name=op.f("uq_stamps_id")),
    )
    op.create_index(
        "ix_stamps_try",
        "stamps",
        ["airflow", "dag_id", "run_id", "task_id", "map_index", "try_number"],
        unique=False,
    )
    op.create_table(
        "rendered_fields",
        sa.Column("run", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_rendered_fields_run")),
        sa.PrimaryKeyConstraint(
            "run", "task_id", "map_index", "try_number", name=op.f("pk_rendered_fields")
        ),
    )
    op.create_table(
        "tries",
        sa.Column("run", _SERIAL, autoincrement=False, nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("repo", sa.Text(), nullable=True),
        sa.Column("commit", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("stamped_at", sa.DateTime(), nullable=False),
        sa.Column("ti_id", sa.Text(), nullable=True),
        sa.Column("conflict", sa.Boolean(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("dag_hash", sa.String(length=64), nullable=True),
        sa.Column("doubt", sa.Text(), nullable=True),
        sa.Column("runtime_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["dag_hash"], ["documents.dag_hash"], name=op.f("fk_tries_dag_hash")
        ),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_tries_run")),
        sa.ForeignKeyConstraint(["runtime_id"], ["runtimes.id"], name=op.f("fk_tries_runtime_id")),
        sa.PrimaryKeyConstraint("run", "task_id", "map_index", "try_number", name=op.f("pk_tries")),
    )
    op.create_index("ix_tries_commit", "tries", ["commit"], unique=False)


def downgrade() -> None:
    """Drop the tables, those that refer to others first."""
    for table in (
        "rendered_fields",
        "tries",
        "runs",
        "executed_documents",
        "stamps",
        "runtimes",
        "deployments",
    ):
        op.drop_table(table)
