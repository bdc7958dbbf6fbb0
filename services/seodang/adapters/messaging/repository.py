"""Inbox and outbox. Every method is one transaction, committed when it returns."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import aliased

from seodang.adapters.messaging.domain import (
    Delivery,
    Incoming,
    Outgoing,
    Platform,
    Received,
    Reply,
    Route,
    State,
    Unanswered,
)
from seodang.adapters.messaging.tables import InboxRow, OutboxRow


class MessageRepository:
    """What came in and what goes out."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(engine, expire_on_commit=False)

    async def take_in(self, incoming: Incoming, now_s: float) -> Received:
        """Keeps a message unless it is there already; once this returns, it cannot be lost."""
        values: dict[str, Any] = {
            "uid": incoming.uid,
            "platform": incoming.platform,
            "key": incoming.key,
            "conversation": incoming.conversation,
            "lane": incoming.lane,
            "text": incoming.text,
            "route": incoming.route,
            "address": dict(incoming.address),
            "received_s": now_s,
            "answer_by_s": incoming.answer_by_s,
            "due_s": now_s,
        }
        async with self._sessions.begin() as session:
            new = insert(InboxRow).values(**values).on_conflict_do_nothing().returning(InboxRow.id)
            added = await session.scalar(new)
            found = added or await session.scalar(select(InboxRow.id).where(InboxRow.uid == incoming.uid))
            return Received(int(found or 0), incoming.uid, duplicate=added is None)

    async def unanswered(self, now_s: float, busy: Collection[str], limit: int) -> list[Unanswered]:
        """Messages that may be answered now, those that a webhook waits on first, one of each idle conversation."""
        earlier = aliased(InboxRow)
        first = ~(
            select(earlier.id)
            .where(earlier.conversation == InboxRow.conversation, ~earlier.answered, earlier.id < InboxRow.id)
            .exists()
        )
        query = (
            select(InboxRow)
            .where(~InboxRow.answered, InboxRow.due_s <= now_s, InboxRow.conversation.not_in(busy), first)
            .order_by((InboxRow.route == Route.RESPONSE).desc(), InboxRow.id)
            .limit(limit)
        )
        async with self._sessions.begin() as session:
            return [_unanswered(row) for row in await session.scalars(query)]

    async def history(self, message: Unanswered, turns: int) -> list[tuple[str, str]]:
        """The last messages of the conversation before this one, each with its reply, oldest first."""
        query = (
            select(InboxRow.text, OutboxRow.text)
            .join(OutboxRow)
            .where(InboxRow.conversation == message.conversation, InboxRow.id < message.id)
            .where(OutboxRow.state != State.FAILED)
            .order_by(InboxRow.id.desc())
            .limit(turns)
        )
        async with self._sessions.begin() as session:
            return [(said, replied) for said, replied in reversed((await session.execute(query)).all())]

    async def answer(self, inbox_id: int, text: str, now_s: float) -> None:
        """Puts the reply to a message in the outbox, unless it has one: the first stays."""
        async with self._sessions.begin() as session:
            await _put_reply(session, inbox_id, text, State.WAITING, now_s)

    async def postpone(self, inbox_id: int, due_s: float, error: str) -> None:
        """Notes that the student failed, and when to ask it again."""
        async with self._sessions.begin() as session:
            await session.execute(
                update(InboxRow)
                .where(InboxRow.id == inbox_id)
                .values(attempts=InboxRow.attempts + 1, due_s=due_s, last_error=error)
            )

    async def is_answered(self, inbox_id: int) -> bool:
        """Whether a message has its reply."""
        async with self._sessions.begin() as session:
            return bool(await session.scalar(select(InboxRow.answered).where(InboxRow.id == inbox_id)))

    async def settle_response(self, inbox_id: int, fallback: str, now_s: float) -> str | None:
        """Decides, once for all deliveries of a message, what the webhook's response is.

        Returns the reply's text, which then counts as sent: what the student wrote, or ``fallback`` when it is not
        ready and nothing could come later. None when the reply goes to the callback URL instead.
        """
        async with self._sessions.begin() as session:
            inbox = await session.get_one(InboxRow, inbox_id)
            outbox = await session.get(OutboxRow, inbox_id)
            if inbox.route == Route.POST:
                return None
            if outbox is not None:
                outbox.state, outbox.last_error = State.SENT, ""
                outbox.attempts += 1
                return outbox.text
            if inbox.address.get("callback_url"):
                inbox.route = Route.POST
                return None
            await _put_reply(session, inbox_id, fallback, State.SENT, now_s)
            return fallback

    async def lanes(self) -> list[str]:
        """Lanes in which a reply waits to be posted."""
        query = select(InboxRow.lane).distinct().join(OutboxRow).where(*_waits_to_be_posted())
        async with self._sessions.begin() as session:
            return list(await session.scalars(query))

    async def next_in(self, lane: str) -> Outgoing | None:
        """The reply that is next in a lane."""
        query = select(InboxRow, OutboxRow).join(OutboxRow).where(InboxRow.lane == lane, *_waits_to_be_posted())
        async with self._sessions.begin() as session:
            row = (await session.execute(query.order_by(InboxRow.id).limit(1))).one_or_none()
            return _outgoing(*row) if row else None

    async def begin_sending(self, outgoing: Outgoing) -> Outgoing:
        """Notes that a reply is on its way; if this process now dies, the reply will be found uncertain."""
        after = replace(outgoing, attempts=outgoing.attempts + 1)
        await self._note(outgoing.id, state=State.SENDING, attempts=after.attempts)
        return after

    async def end_sending(self, outgoing: Outgoing, delivery: Delivery, due_s: float) -> None:
        """Notes what became of an attempt."""
        await self._note(outgoing.id, state=delivery.state, last_error=delivery.error, due_s=due_s)

    async def find_interrupted(self) -> int:
        """Marks what was on its way when the process before this one died; says how many that were."""
        why = "the process died between sending this and noting what became of it"
        interrupted = update(OutboxRow).where(OutboxRow.state == State.SENDING)
        async with self._sessions.begin() as session:
            done = await session.execute(
                interrupted.values(state=State.UNCERTAIN, last_error=why).returning(OutboxRow.inbox_id)
            )
            return len(done.all())

    async def expire(self, now_s: float) -> None:
        """Gives up replies that came too late: nobody reads them any more."""
        late = select(InboxRow.id).where(InboxRow.platform == Platform.KAKAO, InboxRow.answer_by_s < now_s)
        expired = update(OutboxRow).where(OutboxRow.state == State.WAITING, OutboxRow.inbox_id.in_(late))
        async with self._sessions.begin() as session:
            await session.execute(
                expired.values(state=State.FAILED, last_error="too late: nobody waits for it any more")
            )

    async def replies(self, conversation: str, before: int | None, limit: int) -> Sequence[Reply]:
        """Replies, newest first: of one conversation unless that is empty, and older than ``before`` if it is given."""
        query = select(InboxRow, OutboxRow).outerjoin(OutboxRow).order_by(InboxRow.id.desc()).limit(limit)
        if conversation:
            query = query.where(InboxRow.conversation == conversation)
        if before is not None:
            query = query.where(InboxRow.id < before)
        async with self._sessions.begin() as session:
            return [_reply(*row) for row in (await session.execute(query)).all()]

    async def _note(self, inbox_id: int, **columns: object) -> None:
        async with self._sessions.begin() as session:
            await session.execute(update(OutboxRow).where(OutboxRow.inbox_id == inbox_id).values(**columns))


async def _put_reply(session: AsyncSession, inbox_id: int, text: str, state: State, now_s: float) -> None:
    new = insert(OutboxRow).values(inbox_id=inbox_id, text=text, state=state, attempts=0, due_s=now_s, last_error="")
    await session.execute(new.on_conflict_do_nothing())
    await session.execute(update(InboxRow).where(InboxRow.id == inbox_id).values(answered=True))


def _waits_to_be_posted() -> tuple[ColumnElement[bool], ...]:
    return OutboxRow.state == State.WAITING, InboxRow.route == Route.POST


def _unanswered(row: InboxRow) -> Unanswered:
    return Unanswered(row.id, row.uid, row.conversation, row.text, Route(row.route), row.answer_by_s, row.attempts)


def _outgoing(inbox: InboxRow, outbox: OutboxRow) -> Outgoing:
    return Outgoing(
        id=inbox.id,
        uid=inbox.uid,
        platform=Platform(inbox.platform),
        lane=inbox.lane,
        address=inbox.address,
        text=outbox.text,
        attempts=outbox.attempts,
        due_s=outbox.due_s,
        answer_by_s=inbox.answer_by_s,
    )


def _reply(inbox: InboxRow, outbox: OutboxRow | None) -> Reply:
    return Reply(
        id=inbox.id,
        uid=inbox.uid,
        platform=Platform(inbox.platform),
        conversation=inbox.conversation,
        text=outbox.text if outbox else "",
        state=State(outbox.state) if outbox else State.WAITING,
        attempts=outbox.attempts if outbox else inbox.attempts,
        last_error=outbox.last_error if outbox else inbox.last_error,
    )
