"""The tables, as rows. Nobody but the repositories sees them."""

from datetime import UTC, datetime
from typing import ClassVar

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# SQLite counts rows by itself only for a column of its own INTEGER type.
_RowNumber = BigInteger().with_variant(Integer(), "sqlite")


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can name it too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: UtcTime()}


class JobRow(Base):
    """A job; spec, progress, result and fault are JSON."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "create_time", "id"), Index(None, "state"))

    id: Mapped[str] = mapped_column(String(96), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(36), unique=True)
    spec: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    state_message: Mapped[str] = mapped_column(Text)
    create_time: Mapped[datetime]
    update_time: Mapped[datetime]
    end_time: Mapped[datetime | None]
    progress: Mapped[str | None] = mapped_column(Text)
    result: Mapped[str | None] = mapped_column(Text)
    fault: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int]
    revision: Mapped[int] = mapped_column(BigInteger)
    events_offset: Mapped[int] = mapped_column(BigInteger)


class CurvePointRow(Base):
    """A point of a job's curves. ``number`` counts from 1 in the order in which the points arrived."""

    __tablename__ = "curve_points"
    __table_args__ = (UniqueConstraint("job_id", "subject", "step"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    subject: Mapped[str] = mapped_column(String(96))
    step: Mapped[int]
    loss: Mapped[float]
    eval_loss: Mapped[float | None]
    learning_rate: Mapped[float]
    tokens_per_s: Mapped[float]


class VersionRow(Base):
    """A version of a registry model. It never changes."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: Mapped[int] = mapped_column(_RowNumber, primary_key=True)
    model: Mapped[str] = mapped_column(String(64))
    number: Mapped[int]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    create_time: Mapped[datetime]
    parameters: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    passed_gate: Mapped[bool]
    scores: Mapped[str] = mapped_column(Text)
    ancestors: Mapped[str] = mapped_column(Text)


class FileRow(Base):
    """A file of a version."""

    __tablename__ = "version_files"

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    path: Mapped[str] = mapped_column(String(512), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))


class AliasMoveRow(Base):
    """One move of an alias; rows are only ever added. ``previous_id`` is the move that a rollback goes back to."""

    __tablename__ = "alias_moves"

    id: Mapped[int] = mapped_column(_RowNumber, primary_key=True)
    model: Mapped[str] = mapped_column(String(64))
    alias: Mapped[str] = mapped_column(String(64))
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    previous_id: Mapped[int | None] = mapped_column(ForeignKey("alias_moves.id"))
    cause: Mapped[str] = mapped_column(String(16))
    time: Mapped[datetime]


class AliasRow(Base):
    """Where an alias stands: the last of its moves."""

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(String(64), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    move_id: Mapped[int] = mapped_column(ForeignKey("alias_moves.id"), unique=True)


class CapturePolicyRow(Base):
    """What may be kept of a tenant."""

    __tablename__ = "capture_policies"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    enabled: Mapped[bool]
    sample_rate: Mapped[float]
    retention_days: Mapped[int]
    consent: Mapped[str] = mapped_column(Text)


class CaptureRefusalRow(Base):
    """A subject of whom nothing is kept."""

    __tablename__ = "capture_refusals"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)


class InteractionRow(Base):
    """A captured exchange, redacted; messages and redactions are JSON."""

    __tablename__ = "interactions"
    __table_args__ = (
        Index(None, "tenant", "subject"),
        Index(None, "tenant", "time"),
        Index(None, "tenant", "bytes"),
        Index(None, "dataset", "prompt_sha256"),
    )

    id: Mapped[int] = mapped_column(_RowNumber, primary_key=True)
    exchange: Mapped[str] = mapped_column(String(64), unique=True)
    tenant: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(64))
    dataset: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(256))
    time: Mapped[datetime]
    prompt_sha256: Mapped[str] = mapped_column(String(64))
    messages: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    redactions: Mapped[str] = mapped_column(Text)
    consent: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int] = mapped_column(BigInteger)


class DatasetVersionRow(Base):
    """A frozen version of a dataset; ``facts`` is JSON."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset", "number"),)

    id: Mapped[int] = mapped_column(_RowNumber, primary_key=True)
    dataset: Mapped[str] = mapped_column(String(64))
    number: Mapped[int]
    request_id: Mapped[str | None] = mapped_column(String(128), unique=True)
    interactions: Mapped[int] = mapped_column(BigInteger)
    prompts: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    create_time: Mapped[datetime]
    expire_time: Mapped[datetime | None]
    first_time: Mapped[datetime]
    last_time: Mapped[datetime]
    facts: Mapped[str] = mapped_column(Text)
    withdrawn: Mapped[bool]


class DatasetSubjectRow(Base):
    """A subject of whom a version holds something."""

    __tablename__ = "dataset_subjects"
    __table_args__ = (Index(None, "tenant", "subject"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id"), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
