"""The tables, as rows. Nobody but the repository sees them."""

from typing import Any, ClassVar

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of the rows."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, str]: JSON()}


class InboxRow(Base):
    """A message that came in; moments are seconds since 1970."""

    __tablename__ = "inbox"
    __table_args__ = (UniqueConstraint("platform", "key"), Index("inbox_conversation", "conversation", "id"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True)
    platform: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(String(200))
    conversation: Mapped[str] = mapped_column(String(400))
    lane: Mapped[str] = mapped_column(String(400))
    text: Mapped[str] = mapped_column(Text)
    route: Mapped[str] = mapped_column(String(16))
    address: Mapped[dict[str, str]]
    received_s: Mapped[float]
    answer_by_s: Mapped[float]
    answered: Mapped[bool] = mapped_column(default=False, index=True)
    """There is an outbox row."""
    attempts: Mapped[int] = mapped_column(default=0)
    due_s: Mapped[float]
    """The student is not asked (again) before this."""
    last_error: Mapped[str] = mapped_column(Text, default="")


class OutboxRow(Base):
    """The reply to a message; there is never more than one."""

    __tablename__ = "outbox"

    inbox_id: Mapped[int] = mapped_column(ForeignKey("inbox.id"), primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    due_s: Mapped[float]
    """It is not sent (again) before this."""
    last_error: Mapped[str] = mapped_column(Text, default="")
