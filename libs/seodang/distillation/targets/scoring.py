"""Asking the teacher for the signal on sequences, shard by shard, each position once."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from seodang.api.inference.v1 import chat_pb2, score_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.distillation.data import Encoded
from seodang.distillation.spec import HiddenTarget, SampledTarget, TopKTarget
from seodang.distillation.targets.identity import TargetIdentity
from seodang.distillation.targets.journal import Journal
from seodang.distillation.targets.shard import Shard
from seodang.distillation.targets.store import TargetStore
from seodang.distillation.teacher import TeacherConnection, read_chunk

UNIT_TOKENS: Final = 16_384
STREAMS: Final = 4


@dataclass(frozen=True, eq=False)
class Unit:
    """Sequences that are scored by one request and stored as one shard."""

    name: str
    sequences: Encoded
    candidates_PK: npt.NDArray[np.int32] | None = None
    """Tokens at whose log-probabilities a student is interested, K at each position."""


def plan_units(encoded: Encoded, tokens: int = UNIT_TOKENS) -> Iterator[Unit]:
    """All sequences in order, in units of about ``tokens``."""
    begin = 0
    while begin < len(encoded):
        end = int(np.searchsorted(encoded.starts, encoded.starts[begin] + tokens, side="right")) - 1
        end = min(max(end, begin + 1), len(encoded))
        yield Unit(f"{begin:08d}", encoded.select(range(begin, end)))
        begin = end


def score_units(
    store: TargetStore, units: Iterable[Unit], teacher: TeacherConnection, on_positions: Callable[[int], None]
) -> Shard:
    """The signal on all units, joined. What is in the store is not asked for again, down to single chunks.

    Args:
        on_positions: told how many more positions are there, by any of several threads.
    """
    if isinstance(store.identity.target, HiddenTarget) and store.head() is None:
        store.keep_head(teacher.output_head())
    with ThreadPoolExecutor(STREAMS) as pool:
        try:
            shards = list(pool.map(lambda unit: _score_unit(store, unit, teacher, on_positions), units))
        except BaseException:
            # What has begun ends by itself and is kept; what has not must not begin.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Shard.joined(shards)


def signals_of(identity: TargetIdentity) -> score_pb2.ScoreSignals:
    """What is asked for a target."""
    encoding = score_pb2.SPARSE_ENCODING_PACKED if identity.packed else score_pb2.SPARSE_ENCODING_PLAIN
    signals = score_pb2.ScoreSignals(temperature=identity.temperature, entropy=True, encoding=encoding)
    if identity.candidates:
        return signals
    match identity.target:
        case SampledTarget(head=head, tail_draws=tail_draws):
            signals.sampled.head, signals.sampled.tail_draws, signals.sampled.seed = head, tail_draws, identity.seed
            signals.sampled.method = score_pb2.SampledTarget.METHOD_SYSTEMATIC
        case TopKTarget(k=k):
            signals.top_k = k
        case HiddenTarget(int8=int8):
            signals.hidden_states = tensor_pb2.D_TYPE_INT8 if int8 else tensor_pb2.D_TYPE_BFLOAT16
    return signals


def _score_unit(
    store: TargetStore, unit: Unit, teacher: TeacherConnection, on_positions: Callable[[int], None]
) -> Shard:
    if unit.name in store.records:
        on_positions(store.records[unit.name].positions)
        return store.read(unit.name, unit.sequences)
    signals = signals_of(store.identity)
    with Journal(store.journal_path(unit.name), _request_sha256(store, unit, signals)) as journal:
        width = 0 if unit.candidates_PK is None else unit.candidates_PK.shape[1]
        chunks = [read_chunk(score_pb2.ScoreChunk.FromString(frame), width) for frame in journal.frames]
        done = sum(chunk.positions for chunk in chunks)
        on_positions(done)
        if done < int(unit.sequences.positions.sum()):
            for message in teacher.score(_sequences(unit), signals, done):
                chunks.append(read_chunk(message, width))
                journal.append(message.SerializeToString())
                on_positions(chunks[-1].positions)
        shard = Shard.of(unit.sequences.positions, chunks, unit.candidates_PK)
        store.add(unit.name, unit.sequences, shard, sum(map(len, journal.frames)), journal.seconds)
        journal.remove()
    return store.read(unit.name, unit.sequences)


def _request_sha256(store: TargetStore, unit: Unit, signals: score_pb2.ScoreSignals) -> str:
    digest = hashlib.sha256(store.identity.sha256.encode() + unit.sequences.sha256.encode())
    digest.update(signals.SerializeToString(deterministic=True))
    if unit.candidates_PK is not None:
        digest.update(unit.candidates_PK.tobytes())
    return digest.hexdigest()


def _sequences(unit: Unit) -> list[score_pb2.ScoreSequence]:
    """One for each answer; what answers of one conversation share, the teacher reads once."""
    encoded = unit.sequences
    sequences: list[score_pb2.ScoreSequence] = []
    first = 0
    for index in range(len(encoded)):
        ids = encoded.ids(index).tolist()
        for begin, end in encoded.answers(index):
            sequence = score_pb2.ScoreSequence(
                token_ids=chat_pb2.TokenIds(ids=ids[:end]), first_position=begin - 1, end_position=end - 1
            )
            if unit.candidates_PK is not None:
                chosen_QK = unit.candidates_PK[first : first + end - begin]
                sequence.candidates.ids.extend(chosen_QK.reshape(-1).tolist())
                sequence.candidates.offsets.extend(range(0, chosen_QK.size + 1, chosen_QK.shape[1]))
            sequences.append(sequence)
            first += end - begin
    return sequences
