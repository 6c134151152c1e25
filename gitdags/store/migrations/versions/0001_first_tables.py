"""The first tables: repositories, environments, documents, manifests and snapshots."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "codes",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_codes")),
    )
    op.create_table(
        "documents",
        sa.Column("dag_hash", sa.String(length=64), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("dag_hash", name=op.f("pk_documents")),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("family", sa.String(length=64), nullable=False),
        sa.Column("engine", sa.String(length=16), nullable=False),
        sa.Column("airflow", sa.String(length=64), nullable=False),
        sa.Column("python", sa.String(length=64), nullable=False),
        sa.Column("providers", sa.Text(), nullable=False),
        sa.Column("env_file", sa.String(length=64), nullable=True),
        sa.Column("plugins", sa.String(length=40), nullable=True),
        sa.Column("layout", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
    )
    op.create_table(
        "manifests",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("dags", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_manifests")),
    )
    op.create_table(
        "repositories",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("dags_folder", sa.Text(), nullable=True),
        sa.Column("env_file", sa.Text(), nullable=True),
        sa.Column("pull_requests", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sa.UniqueConstraint("name", name=op.f("uq_repositories_name")),
    )
    op.create_table(
        "airflow_documents",
        sa.Column("dag_hash", sa.String(length=64), nullable=False),
        sa.Column("environment_id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dag_hash"], ["documents.dag_hash"], name=op.f("fk_airflow_documents_dag_hash")
        ),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_airflow_documents_environment_id"),
        ),
        sa.PrimaryKeyConstraint("dag_hash", "environment_id", name=op.f("pk_airflow_documents")),
    )
    op.create_table(
        "manifest_dags",
        sa.Column("manifest_hash", sa.String(length=64), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("dag_hash", sa.String(length=64), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("guesses", sa.Text(), nullable=False),
        sa.Column("placeholders", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["code_hash"], ["codes.code_hash"], name=op.f("fk_manifest_dags_code_hash")
        ),
        sa.ForeignKeyConstraint(
            ["dag_hash"], ["documents.dag_hash"], name=op.f("fk_manifest_dags_dag_hash")
        ),
        sa.ForeignKeyConstraint(
            ["manifest_hash"], ["manifests.hash"], name=op.f("fk_manifest_dags_manifest_hash")
        ),
        sa.PrimaryKeyConstraint("manifest_hash", "dag_id", "file", name=op.f("pk_manifest_dags")),
    )
    op.create_index(op.f("ix_manifest_dags_dag_hash"), "manifest_dags", ["dag_hash"], unique=False)
    op.create_index(op.f("ix_manifest_dags_dag_id"), "manifest_dags", ["dag_id"], unique=False)
    op.create_table(
        "manifest_errors",
        sa.Column("manifest_hash", sa.String(length=64), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("traceback", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["manifest_hash"], ["manifests.hash"], name=op.f("fk_manifest_errors_manifest_hash")
        ),
        sa.PrimaryKeyConstraint(
            "manifest_hash", "file", "position", name=op.f("pk_manifest_errors")
        ),
    )
    op.create_index(op.f("ix_manifest_errors_file"), "manifest_errors", ["file"], unique=False)
    op.create_table(
        "ref_updates",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("commit", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_ref_updates_repository_id")
        ),
        sa.PrimaryKeyConstraint("repository_id", "ref", name=op.f("pk_ref_updates")),
    )
    op.create_table(
        "snapshots",
        sa.Column("repository_id", sa.Integer(), nullable=False),
        sa.Column("commit", sa.String(length=40), nullable=False),
        sa.Column("environment_id", sa.String(length=64), nullable=False),
        sa.Column("tree", sa.String(length=40), nullable=False),
        sa.Column("manifest_hash", sa.String(length=64), nullable=False),
        sa.Column("indexed_at", sa.DateTime(), nullable=False),
        sa.Column("parsed", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_snapshots_environment_id")
        ),
        sa.ForeignKeyConstraint(
            ["manifest_hash"], ["manifests.hash"], name=op.f("fk_snapshots_manifest_hash")
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_snapshots_repository_id")
        ),
        sa.PrimaryKeyConstraint(
            "repository_id", "commit", "environment_id", name=op.f("pk_snapshots")
        ),
    )
    op.create_index(
        op.f("ix_snapshots_manifest_hash"), "snapshots", ["manifest_hash"], unique=False
    )
    op.create_index(
        "ix_snapshots_tree", "snapshots", ["repository_id", "tree", "environment_id"], unique=False
    )


def downgrade() -> None:
    """Drop the tables, those that refer to others first."""
    for table in (
        "snapshots",
        "ref_updates",
        "manifest_errors",
        "manifest_dags",
        "airflow_documents",
        "repositories",
        "manifests",
        "environments",
        "documents",
        "codes",
    ):
        op.drop_table(table)
