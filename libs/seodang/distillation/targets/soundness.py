"""Whether a signal can be what its manifest says, from its numbers alone: a digest only says that a file is unchanged.

A distribution's parts bind each other. The probabilities inside and outside the exact entries sum to one; the right
next token's own probability stands among the entries or fits outside them, and systematic draws hit it as often as that
asks, up to one; the entropy lies between what a narrow and what a flat tail would give; hidden states times the head
give that same probability. A signal that is shifted against its sequences, cut to its likeliest tokens, renormalised,
of another vocabulary or of another head breaks one of these.

P positions, E entries in all, V vocabulary, H width of the teacher.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from seodang.distillation.data import Encoded
from seodang.distillation.spec import HiddenTarget, SampledTarget, TopKTarget
from seodang.distillation.targets.identity import TargetIdentity, TargetMismatch
from seodang.distillation.targets.shard import Array, Shard

_SLACK: Final = 2e-3
_PACKED_LOWEST: Final = -32.0
_PACKED_STEPS: Final = 254
_LEAST_TAIL: Final = 1e-4
"""A tail lighter than this may leave some draws without a token."""
_HIDDEN_PROBES: Final = 8
_LIKELIEST: Final = 32


def check_signal(
    shard: Shard, sequences: Encoded, identity: TargetIdentity, head_VH: npt.NDArray[np.float32] | None, where: str
) -> None:
    """Refuses a signal that cannot be that of ``identity`` on ``sequences``.

    Args:
        head_VH: the teacher's output head, if the target is hidden states.
        where: what the signal is, for the message.

    Raises:
        TargetMismatch: with what does not fit, and at how many positions.
    """
    labels = sequences.labels
    if len(labels) != len(shard.next_log_probs):
        raise TargetMismatch(f"{where} has {len(shard.next_log_probs)} positions where the data have {len(labels)}")
    _no(where, "a probability that is none", ~(shard.next_log_probs <= _SLACK))
    if isinstance(identity.target, HiddenTarget) and not identity.candidates:
        _check_hidden(shard, labels, identity, head_VH, where)
        return
    if shard.counts is None or shard.ids is None or shard.log_probs is None or shard.draws is None:
        raise TargetMismatch(f"{where} has no entries, but the target is {identity.target}")
    entries = _Entries.of(shard, labels, identity.packed)
    outside_vocabulary = entries.at_positions((shard.ids < 0) | (shard.ids >= identity.vocabulary_size))
    _no(where, f"a token outside the vocabulary of {identity.vocabulary_size}", outside_vocabulary)
    left_out_E = identity.packed & (shard.draws > 0) & np.isnan(shard.log_probs)
    _no(
        where,
        "another probability of the next token than the entries say: shifted, renormalised, or of another tokenizer",
        entries.label_is_wrong(~left_out_E),
    )
    if not identity.candidates:
        _check_whole(shard, entries, identity, where)


@dataclass(frozen=True, eq=False)
class _Entries:
    """The entries of a shard beside the position that each belongs to."""

    row_E: Array
    exact_E: Array
    is_label_E: Array
    """Exact or drawn."""
    log_probs_E: Array
    next_P: Array
    """The label's own, as it would be told among entries."""
    packed: bool

    @classmethod
    def of(cls, shard: Shard, labels: Array, packed: bool) -> "_Entries":
        row_E = np.repeat(np.arange(len(labels)), shard.column("counts"))
        exact_E = shard.column("draws") == 0
        is_label_E = shard.column("ids") == labels[row_E]
        next_P = np.maximum(shard.next_log_probs, _PACKED_LOWEST) if packed else shard.next_log_probs
        return cls(row_E, exact_E, is_label_E, shard.column("log_probs"), next_P, packed)

    def slack(self, log_probs: Array) -> Array:
        """How far rounding may move them: the packed wire's codes are squares of 254ths."""
        with np.errstate(invalid="ignore"):
            steps = np.sqrt(32 * np.abs(np.maximum(log_probs, _PACKED_LOWEST))) / _PACKED_STEPS
        allowed: Array = (steps if self.packed else 0.0 * steps) + _SLACK
        return allowed

    def at_positions(self, flags_E: Array) -> Array:
        """Whether any entry of each position is flagged."""
        return self.sums(flags_E) > 0

    def sums(self, values_E: Array) -> Array:
        """Of each position's entries."""
        return np.bincount(self.row_E, values_E, minlength=len(self.next_P))

    def label_is_wrong(self, kept_E: Array) -> Array:
        """At which positions an entry that is the label says otherwise, of those whose log-probability is kept."""
        told_E = self.is_label_E & kept_E
        expected = self.next_P[self.row_E[told_E]]
        found = np.maximum(self.log_probs_E[told_E], _PACKED_LOWEST if self.packed else -np.inf)
        wrong_P = np.zeros(len(self.next_P), bool)
        wrong_P[self.row_E[told_E]] = ~(np.abs(found - expected) <= self.slack(expected))
        return wrong_P


def _check_whole(shard: Shard, entries: _Entries, identity: TargetIdentity, where: str) -> None:
    """Of the sampled and the top-k target: entries and what lies outside them make one distribution."""
    target, vocabulary, outside_P = identity.target, identity.vocabulary_size, shard.column("outside")
    exact_P, draws_P = entries.sums(entries.exact_E), entries.sums(shard.column("draws"))
    if isinstance(target, SampledTarget):
        wanted, drawn = min(target.head, vocabulary), target.tail_draws if target.head < vocabulary else 0
        _no(where, f"other than {drawn} draws from the tail", (draws_P != drawn) & (outside_P > _LEAST_TAIL))
    else:
        assert isinstance(target, TopKTarget)
        wanted = min(target.k, vocabulary)
    _no(where, f"other than {wanted} exact entries", exact_P != wanted)

    log_p_E = np.where(entries.exact_E, entries.log_probs_E, -np.inf)
    p_E = np.exp(log_p_E)
    rounding_P = entries.sums(np.where(entries.exact_E, p_E * entries.slack(entries.log_probs_E), 0.0))
    excess_P = np.abs(entries.sums(p_E) + outside_P - 1)
    _no(
        where,
        "entries and a rest that do not sum to one: truncated or renormalised",
        ~(excess_P <= rounding_P + _SLACK),
    )

    lowest_P = np.full(len(entries.next_P), np.inf)
    np.minimum.at(lowest_P, entries.row_E[entries.exact_E], entries.log_probs_E[entries.exact_E])
    absent_P = entries.sums(entries.exact_E & entries.is_label_E) == 0
    likelier = entries.next_P > lowest_P + entries.slack(np.where(np.isfinite(lowest_P), lowest_P, 0.0))
    _no(
        where,
        "a next token that is likelier than an entry, and none: shifted, or of another tokenizer",
        absent_P & likelier,
    )
    no_room = np.exp(shard.next_log_probs) > outside_P + _SLACK
    _no(
        where,
        "a next token that is no entry and has no room outside them: truncated or renormalised",
        absent_P & no_room,
    )
    if isinstance(target, SampledTarget) and target.tail_draws:
        _check_draws(shard, entries, outside_P / target.tail_draws, where)
    if shard.entropy is not None:
        _check_entropy(shard.entropy, p_E, lowest_P, outside_P, entries, vocabulary - exact_P, where)


def _check_draws(shard: Shard, entries: _Entries, share_P: Array, where: str) -> None:
    """Of equally spaced points on the tail's mass, a token gets as many as its mass has shares, up to one."""
    hits_P = entries.sums(np.where(entries.is_label_E, shard.column("draws"), 0))
    exact_P = entries.sums(entries.is_label_E & entries.exact_E) > 0
    off_P = np.abs(hits_P * share_P - np.exp(shard.next_log_probs))
    what = "a next token that is drawn more or less often than its probability asks: shifted, or of another tokenizer"
    _no(where, what, ~exact_P & ~(off_P <= share_P + _SLACK))


def _check_entropy(
    entropy_P: Array, p_E: Array, lowest_P: Array, outside_P: Array, entries: _Entries, others_P: Array, where: str
) -> None:
    """Entries tell their part; the rest tells the least if it is in few tokens, the most if all of it are equal."""
    surprise_E = np.where(entries.exact_E, -entries.log_probs_E, 0.0)
    inside_P = entries.sums(p_E * surprise_E)
    rounding_E = np.where(entries.exact_E, p_E * entries.slack(entries.log_probs_E) * (1 + surprise_E), 0.0)
    allowed_P = entries.sums(rounding_E) + 10 * _SLACK
    tail_P = np.maximum(outside_P, 1e-30)
    least_P = inside_P - outside_P * np.minimum(np.where(np.isfinite(lowest_P), lowest_P, 0.0), np.log(tail_P))
    most_P = inside_P + outside_P * np.maximum(np.log(np.maximum(others_P, 1)) - np.log(tail_P), 0.0)
    off = ~((entropy_P >= np.minimum(least_P, most_P) - allowed_P) & (entropy_P <= most_P + allowed_P))
    _no(where, "an entropy that the entries cannot have: of another temperature, truncated or renormalised", off)


def _check_hidden(
    shard: Shard, labels: Array, identity: TargetIdentity, head_VH: npt.NDArray[np.float32] | None, where: str
) -> None:
    """At a few positions, hidden states times the head give the label's probability, up to how they were rounded."""
    assert isinstance(identity.target, HiddenTarget)
    if shard.hidden is None or identity.target.int8 != (shard.hidden_scales is not None):
        raise TargetMismatch(
            f"{where} does not hold the {'int8' if identity.target.int8 else 'bfloat16'} states asked for"
        )
    width = (identity.vocabulary_size, shard.hidden.shape[1])
    if head_VH is None or head_VH.shape != width:
        found = "no head" if head_VH is None else f"a head of {list(head_VH.shape)}"
        raise TargetMismatch(f"{where} has hidden states for a head of {list(width)}, beside it lies {found}")
    rows = np.unique(np.linspace(0, len(labels) - 1, _HIDDEN_PROBES).astype(np.int64))
    stored = shard.hidden[rows]
    if shard.hidden_scales is not None:
        hidden_NH = stored.astype(np.float64) * shard.hidden_scales[rows, None]
        noise_NH = np.broadcast_to(shard.hidden_scales[rows, None].astype(np.float64) / 2, hidden_NH.shape)
    else:
        hidden_NH = (stored.astype("<u4") << 16).view("<f4").astype(np.float64)
        noise_NH = np.abs(hidden_NH) / 2**8
    logits_NV = (hidden_NH.astype(np.float32) @ head_VH.T).astype(np.float64) / identity.temperature
    peak_N1 = logits_NV.max(1, keepdims=True)
    found_N = np.take_along_axis(logits_NV - peak_N1, labels[rows, None].astype(np.int64), 1)[:, 0]
    found_N = found_N - np.log(np.exp(logits_NV - peak_N1).sum(1))
    likeliest = np.argpartition(-logits_NV, min(_LIKELIEST, logits_NV.shape[1]) - 1, axis=1)[:, :_LIKELIEST]
    squared_NH = (noise_NH / identity.temperature) ** 2 / 3
    spread_N = np.sqrt((squared_NH * head_VH[labels[rows]].astype(np.float64) ** 2).sum(1))
    spread_N += np.sqrt((squared_NH[:, None] * head_VH[likeliest].astype(np.float64) ** 2).sum(2).max(1))
    engine = 0.0 if identity.engine_dtype == "float32" else float(np.abs(logits_NV).max()) / 2**7
    off = ~(np.abs(found_N - shard.next_log_probs[rows]) <= 6 * spread_N + 10 * _SLACK + engine)
    if off.mean() > 0.25:  # rounding has its tails; what is shifted or of another head is off nearly everywhere
        told = f"{int(off.sum())} of {len(rows)} positions tried"
        raise TargetMismatch(
            f"{where}: at {told}, hidden states times the head are not the next token's probability: they are shifted "
            "against their sequences, or of another head, temperature or tokenizer"
        )


def _no(where: str, what: str, wrong_P: Array) -> None:
    if wrong_P.any():
        raise TargetMismatch(f"{where}: {int(wrong_P.sum())} of {len(wrong_P)} positions have {what}")
