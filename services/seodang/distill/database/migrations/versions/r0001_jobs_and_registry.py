"""Jobs with their curves, versions with their files, aliases with their moves."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None

_MOMENT = sa.DateTime(timezone=True)
_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """From an empty database."""
    _create_jobs()
    _create_versions()
    _create_aliases()


def downgrade() -> None:
    """To an empty database."""
    for table in ("aliases", "alias_moves", "version_files", "versions", "curve_points", "jobs"):
        op.drop_table(table)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(96), nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_message", sa.Text(), nullable=False),
        sa.Column("create_time", _MOMENT, nullable=False),
        sa.Column("update_time", _MOMENT, nullable=False),
        sa.Column("end_time", _MOMENT, nullable=True),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("events_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("request_id", name="uq_jobs_request_id"),
    )
    op.create_index("ix_jobs_create_time_id", "jobs", ["create_time", "id"])
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_table(
        "curve_points",
        sa.Column("job_id", sa.String(96), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(96), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=False),
        sa.Column("eval_loss", sa.Double(), nullable=True),
        sa.Column("learning_rate", sa.Double(), nullable=False),
        sa.Column("tokens_per_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_curve_points_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_curve_points"),
        sa.UniqueConstraint("job_id", "subject", "step", name="uq_curve_points_job_id_subject_step"),
    )


def _create_versions() -> None:
    op.create_table(
        "versions",
        sa.Column("id", _ROW_NUMBER, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(96), nullable=False),
        sa.Column("create_time", _MOMENT, nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("passed_gate", sa.Boolean(), nullable=False),
        sa.Column("scores", sa.Text(), nullable=False),
        sa.Column("ancestors", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_versions_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.UniqueConstraint("job_id", name="uq_versions_job_id"),
        sa.UniqueConstraint("model", "number", name="uq_versions_model_number"),
    )
    op.create_table(
        "version_files",
        sa.Column("version_id", _ROW_NUMBER, nullable=False),
        sa.Column("path", sa.String(512), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_version_files_version_id_versions"),
        sa.PrimaryKeyConstraint("version_id", "path", name="pk_version_files"),
    )


def _create_aliases() -> None:
    op.create_table(
        "alias_moves",
        sa.Column("id", _ROW_NUMBER, nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("version_id", _ROW_NUMBER, nullable=False),
        sa.Column("previous_id", _ROW_NUMBER, nullable=True),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("time", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["previous_id"], ["alias_moves.id"], name="fk_alias_moves_previous_id_alias_moves"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_alias_moves_version_id_versions"),
        sa.PrimaryKeyConstraint("id", name="pk_alias_moves"),
    )
    op.create_index("ix_alias_moves_version_id", "alias_moves", ["version_id"])
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("move_id", _ROW_NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["move_id"], ["alias_moves.id"], name="fk_aliases_move_id_alias_moves"),
        sa.PrimaryKeyConstraint("model", "alias", name="pk_aliases"),
        sa.UniqueConstraint("move_id", name="uq_aliases_move_id"),
    )
