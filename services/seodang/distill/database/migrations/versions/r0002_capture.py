"""Captured traffic: policies, refusals, interactions, and the frozen versions with whom they hold something of."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"

_MOMENT = sa.DateTime(timezone=True)
_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Adds the tables; nothing that is there changes."""
    _create_policies()
    _create_interactions()
    _create_versions()


def downgrade() -> None:
    """Forgets all that was captured."""
    for table in ("dataset_subjects", "dataset_versions", "interactions", "capture_refusals", "capture_policies"):
        op.drop_table(table)


def _create_policies() -> None:
    op.create_table(
        "capture_policies",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("sample_rate", sa.Double(), nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=False),
        sa.Column("consent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_capture_policies"),
    )
    op.create_table(
        "capture_refusals",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject", name="pk_capture_refusals"),
    )


def _create_interactions() -> None:
    op.create_table(
        "interactions",
        sa.Column("id", _ROW_NUMBER, nullable=False),
        sa.Column("exchange", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.Column("prompt_sha256", sa.String(64), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("redactions", sa.Text(), nullable=False),
        sa.Column("consent", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_interactions"),
        sa.UniqueConstraint("exchange", name="uq_interactions_exchange"),
    )
    for columns in (["tenant", "subject"], ["tenant", "time"], ["tenant", "bytes"], ["dataset", "prompt_sha256"]):
        op.create_index(f"ix_interactions_{'_'.join(columns)}", "interactions", columns)


def _create_versions() -> None:
    op.create_table(
        "dataset_versions",
        sa.Column("id", _ROW_NUMBER, nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=True),
        sa.Column("interactions", sa.BigInteger(), nullable=False),
        sa.Column("prompts", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("create_time", _MOMENT, nullable=False),
        sa.Column("expire_time", _MOMENT, nullable=True),
        sa.Column("first_time", _MOMENT, nullable=False),
        sa.Column("last_time", _MOMENT, nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_versions"),
        sa.UniqueConstraint("dataset", "number", name="uq_dataset_versions_dataset_number"),
        sa.UniqueConstraint("request_id", name="uq_dataset_versions_request_id"),
    )
    op.create_table(
        "dataset_subjects",
        sa.Column("version_id", _ROW_NUMBER, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["dataset_versions.id"], name="fk_dataset_subjects_version_id_dataset_versions"
        ),
        sa.PrimaryKeyConstraint("version_id", "tenant", "subject", name="pk_dataset_subjects"),
    )
    op.create_index("ix_dataset_subjects_tenant_subject", "dataset_subjects", ["tenant", "subject"])
