"""What may be kept of a tenant's traffic, in which form, and what a frozen version of it is called."""

import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from seodang.api.capture.v1 import capture_pb2
from seodang.api.inference.v1 import chat_pb2
from seodang.base.errors import InvalidInput
from seodang.capture import redact

MOST_CHARACTERS: Final = 16_000
"""Of a conversation with its answer; what is longer fits no student's context."""
_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_DATASET = re.compile(rf"datasets/({_WORD})")
_VERSION = re.compile(rf"datasets/({_WORD})/versions/([1-9][0-9]{{0,8}})")
_TENANT = re.compile(r"\S{1,64}")
_ROLES: Final = {chat_pb2.ROLE_SYSTEM: "system", chat_pb2.ROLE_USER: "user", chat_pb2.ROLE_ASSISTANT: "assistant"}


@dataclass(frozen=True, slots=True, order=True)
class DatasetVersionName:
    """``datasets/{dataset}/versions/{number}``; numbers of a dataset count from 1."""

    dataset: str
    number: int

    def __str__(self) -> str:
        return f"datasets/{self.dataset}/versions/{self.number}"

    @classmethod
    def parse(cls, text: str, field: str) -> Self:
        """Reads the resource name that came in ``field``."""
        found = _VERSION.fullmatch(text)
        if found is None:
            raise InvalidInput(f"{field}={text[:120]!r} is not datasets/{{dataset}}/versions/{{number}}", field=field)
        return cls(found[1], int(found[2]))


def parse_dataset(text: str, field: str) -> str:
    """The dataset of ``datasets/{dataset}``."""
    found = _DATASET.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{field}={text[:120]!r} is not datasets/{{dataset}}", field=field)
    return found[1]


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be kept of a tenant; without one nothing is."""

    tenant: str
    enabled: bool
    sample_rate: float
    retention_days: int
    consent: str

    def check(self) -> None:
        """Refuses what cannot be meant.

        Raises:
            InvalidInput: with the path of the field.
        """
        if not _TENANT.fullmatch(self.tenant) or not self.tenant.isprintable():
            raise InvalidInput(f"policy.tenant={self.tenant[:80]!r}: 1 to 64 visible characters", field="policy.tenant")
        if not 0 <= self.retention_days <= 36_500:
            raise InvalidInput(
                f"policy.retention_days={self.retention_days}: 0 (until erased) to 36500", field="policy.retention_days"
            )
        if not 0 <= self.sample_rate <= 1 or (self.enabled and not self.sample_rate):
            raise InvalidInput(
                f"policy.sample_rate={self.sample_rate:g}: above 0, which would keep nothing, and at most 1, which "
                "keeps all",
                field="policy.sample_rate",
            )
        if len(self.consent) > 500 or not self.consent.isprintable() or (self.enabled and not self.consent.strip()):
            raise InvalidInput(
                "policy.consent: say in one line of 1 to 500 characters what the people behind the traffic agreed to",
                field="policy.consent",
            )

    def expiry(self, begins: datetime) -> datetime | None:
        """When what began to be kept then is forgotten."""
        return begins + timedelta(days=self.retention_days) if self.retention_days else None

    def allows(self, interaction: capture_pb2.Interaction, exchange: str) -> bool:
        """Whether an exchange may be kept and is among the share to keep; always the same for the same one."""
        return self.enabled and interaction.consented and int(exchange[:12], 16) < self.sample_rate * 16**12


@dataclass(frozen=True, slots=True)
class Kept:
    """An exchange as it is kept: without personal data, its person and request as keyed hashes."""

    exchange: str
    tenant: str
    subject: str
    dataset: str
    model: str
    time: datetime
    messages: str
    """JSON of ``[{"role", "content"}...]``."""
    answer: str
    redactions: Mapping[str, int]
    consent: str

    @property
    def prompt_sha256(self) -> str:
        """The same for the same prompt, whoever asked."""
        return hashlib.sha256(self.messages.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """What it weighs."""
        return len(self.messages.encode()) + len(self.answer.encode())


@dataclass(slots=True)
class Tally:
    """What became of the interactions of one call."""

    stored: int = 0
    dropped_by_policy: int = 0
    duplicates: int = 0
    dropped_unfit: int = 0
    dropped_full: int = 0
    redactions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """A frozen version. It never changes, except that it can be withdrawn."""

    name: DatasetVersionName
    interactions: int
    prompts: int
    sha256: str
    create_time: datetime
    expire_time: datetime | None
    first_time: datetime
    last_time: datetime
    redactions: Mapping[str, int]
    tenants: tuple[str, ...]
    models: tuple[str, ...]
    consents: tuple[str, ...]
    withdrawn: bool = False


@dataclass
class Census:
    """What is told of the exchanges of a version, counted while they are written."""

    interactions: int = 0
    prompts: int = 0
    redactions: Counter[str] = field(default_factory=Counter)
    times: list[datetime] = field(default_factory=list)
    """The first and the last."""
    tenants: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    consents: set[str] = field(default_factory=set)
    subjects: set[tuple[str, str]] = field(default_factory=set)

    def add(self, kept: Kept) -> None:
        """Counts an exchange, whether its prompt is a new one or not."""
        self.interactions += 1
        self.times = [min([kept.time, *self.times[:1]]), max([kept.time, *self.times[1:]])]
        self.tenants.add(kept.tenant)
        self.models.add(kept.model)
        self.consents.add(kept.consent)
        self.subjects.add((kept.tenant, kept.subject))


class Pseudonyms:
    """Turns what names a person or a request into something that only the holder of the key can make again."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, kind: str, tenant: str, name: str) -> str:
        """The keyed hash of a name of that kind."""
        return hmac.new(self._key, f"{kind}\0{tenant}\0{name}".encode(), hashlib.sha256).hexdigest()


def cleaned(
    interaction: capture_pb2.Interaction, exchange: str, subject: str, consent: str, now: datetime
) -> Kept | None:
    """The interaction without personal data; None if no job could learn from it.

    Raises:
        InvalidInput: its dataset is not named as one, or its time is none.
    """
    dataset = parse_dataset(interaction.dataset, "interaction.dataset")
    turns = interaction.prompt.messages
    spoken = [(_ROLES.get(turn.role, ""), turn.content) for turn in turns if not turn.tool_calls]
    length = len(interaction.answer) + sum(len(content) for _, content in spoken)
    if (
        len(spoken) != len(turns)
        or interaction.prompt.tools
        or not all(role and content for role, content in spoken)
        or not spoken
        or spoken[-1][0] != "user"
        or not interaction.answer.strip()
        or length > MOST_CHARACTERS
    ):
        return None
    clean = [(role, redact(content)) for role, content in spoken]
    answer = redact(interaction.answer)
    counts = Counter[str]()
    for each in (*(content for _, content in clean), answer):
        counts.update(each.counts)
    return Kept(
        exchange=exchange,
        tenant=interaction.tenant,
        subject=subject,
        dataset=dataset,
        model=interaction.model[:256],
        # A clock that is ahead must not make anything live longer.
        time=min(_time(interaction, now), now),
        messages=json.dumps([{"role": role, "content": each.text} for role, each in clean], ensure_ascii=False),
        answer=answer.text,
        redactions=counts,
        consent=consent,
    )


def _time(interaction: capture_pb2.Interaction, now: datetime) -> datetime:
    if not interaction.HasField("time"):
        return now
    try:
        return interaction.time.ToDatetime(now.tzinfo)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"interaction.time is no moment: {error}", field="interaction.time") from error
