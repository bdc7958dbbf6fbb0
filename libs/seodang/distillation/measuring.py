"""The measurements of a job: every contestant on the same held-out data, each once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from seodang.distillation.catalogue import Task, find_corpus
from seodang.distillation.cost import Rates, cost_of
from seodang.distillation.data import Encoded
from seodang.distillation.evaluation import (
    EVAL_TARGET,
    PROMPTS,
    Contestant,
    Examination,
    Fidelity,
    StudentContestant,
    TeacherContestant,
    calibration_error,
    examine,
    fidelity,
    fidelity_across,
    fidelity_of_teacher,
    forward_kl,
    noise_floor,
    own_text,
    reverse_kl,
    top1_of,
    wilson_interval,
)
from seodang.distillation.folder import folder_sha256, write_whole
from seodang.distillation.recipes import Room
from seodang.distillation.result import Cost, Measurement
from seodang.distillation.spec import TEACHER, CorpusSource, Record
from seodang.distillation.targets import ShardSignals, plan_units, score_units
from seodang.distillation.teaching import training_state
from seodang.distillation.training import Student, load_student

_SPARE_TOKENS: Final = 8
_LONGEST_ACTION: Final = 4


class _Measured(Record, frozen=True, kw_only=True):
    """evaluation/SUBJECT/measurement.json."""

    measurement: Measurement
    seconds: float


@dataclass(frozen=True)
class _Sampled:
    """What is measured on the first held-out examples only, because the teacher is asked for it anew."""

    reverse_kl: float | None = None
    own_text_kl: float | None = None
    own_text_forward_kl: float | None = None
    noise_floor_kl: float | None = None
    noise_floor_agreement: float | None = None


class Measuring:
    """Asks the teacher for its signal on the held-out answers when it is made, and measures when it is told to."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held_out = room.data.teacher_encoded["eval"]
        store = room.store("eval", 0, EVAL_TARGET, self._held_out.sha256, temperature=1.0, packed=False)
        progress = room.report.progress("", int(self._held_out.positions.sum()), "positions")
        self._shard = score_units(store, plan_units(self._held_out), room.teachers[0], progress.add)
        longest_answer = _longest_answer(room)
        self._examination = Examination(
            task=room.data.manifest.task,
            examples=room.data.examples["eval"],
            episodes=_episodes(room),
            max_new_tokens=longest_answer + _SPARE_TOKENS,
            claim=room.data.manifest.sha256,
            action_tokens=max(_LONGEST_ACTION, longest_answer),
        )

    def measure(self) -> tuple[Measurement, ...]:
        """Teacher, student, then each baseline."""
        return tuple(self._measured(subject).measurement for subject in self._subjects)

    def cost(self, rates: Rates) -> Cost:
        """What the job consumed, when everything is measured."""
        measured = {subject: self._measured(subject) for subject in self._subjects}
        parameters = {subject: each.measurement.parameters for subject, each in measured.items()}
        return cost_of(self._room, parameters, sum(each.seconds for each in measured.values()), rates)

    @property
    def _subjects(self) -> list[str]:
        return [TEACHER, *self._room.spec.subjects]

    def _measured(self, subject: str) -> _Measured:
        path = self._room.folder.evaluation(subject) / "measurement.json"
        if not path.exists():
            began_s = time.monotonic()
            measurement = self._measure(subject)
            made = _Measured(measurement=measurement, seconds=time.monotonic() - began_s)
            self._room.report.measured(measurement)
            self._room.report.sync()
            write_whole(path, msgspec.json.format(msgspec.json.encode(made), indent=2))
        return msgspec.json.decode(path.read_bytes(), type=_Measured)

    def _measure(self, subject: str) -> Measurement:
        contestant, close, claim = self._contestant(subject)
        sampled = self._sampled(contestant)
        later = self._examination.count * (len(self._subjects) - 1 - self._subjects.index(subject))
        progress = self._room.report.progress(subject, self._examination.count, "examples", later=later)
        file = self._room.folder.evaluation(subject) / "answers.jsonl"
        scores = examine(contestant, self._examination, file, claim, progress.add)
        share = float(np.mean(scores))
        low, high = wilson_interval(share, len(scores))
        return Measurement(
            subject=subject,
            parameters=contestant.parameters,
            task_score=share,
            task_score_low=low,
            task_score_high=high,
            metric=self._examination.task.value,
            examples=len(scores),
            cross_entropy=close.cross_entropy,
            forward_kl=close.forward_kl,
            top1_agreement=close.top1_agreement,
            draft_acceptance=close.draft_acceptance,
            own_text_kl=sampled.own_text_kl,
            calibration_error=calibration_error(close.reliability),
            reliability=close.reliability,
            reverse_kl=sampled.reverse_kl,
            own_text_forward_kl=sampled.own_text_forward_kl,
            top8_overlap=close.top8_overlap,
            noise_floor_kl=sampled.noise_floor_kl,
            noise_floor_agreement=sampled.noise_floor_agreement,
            training_tokens=None if subject == TEACHER else training_state(self._room, subject).tokens,
        )

    def _sampled(self, contestant: Contestant) -> _Sampled:
        room, first = self._room, self._held_out.select(range(min(PROMPTS, len(self._held_out))))
        if not isinstance(contestant, StudentContestant):
            floor = noise_floor(room, first, self._shard, self._asking(contestant.subject, first))
            return _Sampled(noise_floor_kl=floor.kl, noise_floor_agreement=floor.agreement)
        if room.spec.tokenizer:
            return _Sampled()
        subject, student = contestant.subject, contestant.student
        own = own_text(room, subject, student, self._held_out, self._examination.max_new_tokens)
        asking = self._asking(subject, first, own, own)
        return _Sampled(
            reverse_kl=reverse_kl(room, f"reverse-{subject}", student, first, asking),
            own_text_kl=reverse_kl(room, f"own-{subject}", student, own, asking),
            own_text_forward_kl=forward_kl(room, f"answers-{subject}", student, own, asking),
        )

    def _asking(self, subject: str, *texts: Encoded) -> Callable[[int], None]:
        """What is told how many more positions of the texts the teacher has scored."""
        positions = sum(int(text.positions.sum()) for text in texts)
        return self._room.report.progress(subject, positions, "positions").add

    def _contestant(self, subject: str) -> tuple[Contestant, Fidelity, str]:
        """Who answers, how close it is to the teacher, and the fingerprint of its weights."""
        room = self._room
        if subject == TEACHER:
            teacher = room.teachers[0]
            itself = fidelity_of_teacher(self._held_out, self._shard)
            return TeacherContestant(teacher), itself, teacher.identity.weights_sha256
        folder = room.folder.finished(subject)
        student = load_student(folder, room.device)
        return StudentContestant(subject, student, room.tokenizer), self._close(student), folder_sha256(folder)

    def _close(self, student: Student) -> Fidelity:
        if self._room.spec.tokenizer:
            return fidelity_across(student, self._room.data.encoded["eval"], int(self._held_out.positions.sum()))
        signals = ShardSignals(self._shard, EVAL_TARGET)
        return fidelity(student, self._held_out, signals, top1_of(self._shard))


def _longest_answer(room: Room) -> int:
    """Of the held-out answers, in tokens of whoever needs more."""
    return max(int(encoded["eval"].positions.max()) for encoded in (room.data.teacher_encoded, room.data.encoded))


def _episodes(room: Room) -> int:
    """Of missions; 0 where there are none."""
    source = room.spec.data.source
    if room.data.manifest.task is not Task.MISSION or not isinstance(source, CorpusSource):
        return 0
    return room.spec.data.eval_examples or find_corpus(source.name).eval_examples
