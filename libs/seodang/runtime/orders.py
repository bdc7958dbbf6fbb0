"""What the leading rank tells the others: the same work, in the same order, so that their collectives meet.

An order is a MessagePack message in a fixed frame, broadcast over gloo; what does not fit follows in a second one.
"""

from typing import Final, TypeAlias

import msgspec
import torch
import torch.distributed as dist

from seodang.runtime.batch import Batch
from seodang.runtime.executor import Outputs
from seodang.worker.messages import LoadOptions, Message
from seodang.worker.tensor import Tensor

FRAME_BYTES: Final = 16 * 2**10
_LENGTH_BYTES: Final = 8


class LoadOrder(Message, frozen=True, tag="load"):
    """Load your part of a checkpoint."""

    model_id: str
    folder: str
    options: LoadOptions


class UnloadOrder(Message, frozen=True, tag="unload"):
    """Free a model."""

    model_id: str


class ForwardOrder(Message, frozen=True, tag="forward"):
    """Compute a batch; fields as in ``Batch``."""

    model_id: str
    tokens: Tensor
    lengths: Tensor
    starts: Tensor
    tables: Tensor
    outputs: Tensor

    @classmethod
    def of(cls, model_id: str, batch: Batch) -> "ForwardOrder":
        """The order for a batch."""
        arrays = (batch.tokens_T, batch.lengths_B, batch.starts_B, batch.tables_BM, batch.outputs_N)
        tokens, lengths, starts, tables, outputs = map(Tensor.from_numpy, arrays)
        return cls(model_id=model_id, tokens=tokens, lengths=lengths, starts=starts, tables=tables, outputs=outputs)

    def batch(self) -> Batch:
        """The batch of the order."""
        fields = (self.tokens, self.lengths, self.starts, self.tables, self.outputs)
        return Batch(*(field.to_numpy().copy() for field in fields))  # torch wants arrays that can be written


class LogitsOrder(Message, frozen=True, tag="logits"):
    """Compute logits of the last batch: output rows ``first``..``stop`` or ``picked``, and part of the vocabulary."""

    model_id: str
    begin: int
    end: int
    first: int = 0
    stop: int = 0
    picked: tuple[int, ...] | None = None

    @classmethod
    def of(cls, model_id: str, outputs: Outputs, vocabulary: slice) -> "LogitsOrder":
        """The order for some outputs."""
        begin, end = vocabulary.start, vocabulary.stop
        if isinstance(outputs, slice):
            return cls(model_id=model_id, begin=begin, end=end, first=outputs.start, stop=outputs.stop)
        return cls(model_id=model_id, begin=begin, end=end, picked=outputs)

    @property
    def outputs(self) -> Outputs:
        """Rows of the last batch's outputs."""
        return slice(self.first, self.stop) if self.picked is None else self.picked

    @property
    def vocabulary(self) -> slice:
        """Part of the vocabulary."""
        return slice(self.begin, self.end)


class HeadOrder(Message, frozen=True, tag="head"):
    """Bring rows ``begin``..``end`` of the output head together."""

    model_id: str
    begin: int
    end: int


class LeaveOrder(Message, frozen=True, tag="leave"):
    """The group ends."""


Order: TypeAlias = LoadOrder | UnloadOrder | ForwardOrder | LogitsOrder | HeadOrder | LeaveOrder

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)


def give(order: Order) -> None:
    """Broadcast an order from rank 0."""
    body = _encoder.encode(order)
    head = torch.zeros(FRAME_BYTES, dtype=torch.uint8)
    whole = len(body).to_bytes(_LENGTH_BYTES, "little") + body
    first, rest = whole[:FRAME_BYTES], whole[FRAME_BYTES:]
    head[: len(first)] = torch.frombuffer(bytearray(first), dtype=torch.uint8)
    dist.broadcast(head, 0)
    if rest:
        dist.broadcast(torch.frombuffer(bytearray(rest), dtype=torch.uint8), 0)


def receive() -> Order:
    """Wait for the next order."""
    head = torch.zeros(FRAME_BYTES, dtype=torch.uint8)
    dist.broadcast(head, 0)
    whole = head.numpy().tobytes()
    length = int.from_bytes(whole[:_LENGTH_BYTES], "little") + _LENGTH_BYTES
    if length > FRAME_BYTES:
        rest = torch.zeros(length - FRAME_BYTES, dtype=torch.uint8)
        dist.broadcast(rest, 0)
        whole += rest.numpy().tobytes()
    return _decoder.decode(whole[_LENGTH_BYTES:length])


class OrderAnnounce:
    """Announces an executor's work to the other ranks (``seodang.runtime.executor.Announce``)."""

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id

    def forward(self, batch: Batch) -> None:
        """A batch."""
        give(ForwardOrder.of(self._model_id, batch))

    def logits(self, outputs: Outputs, vocabulary: slice) -> None:
        """Logits of the last batch."""
        give(LogitsOrder.of(self._model_id, outputs, vocabulary))

    def head(self, vocabulary: slice) -> None:
        """Rows of the output head."""
        give(HeadOrder(model_id=self._model_id, begin=vocabulary.start, end=vocabulary.stop))
