"""Sequence-level: the teacher answers the training prompts, the student learns the answers (Kim and Rush, 2016)."""

from seodang.distillation.answers import AnswerFile
from seodang.distillation.data import Encoded
from seodang.distillation.recipes.labels import Labels
from seodang.distillation.recipes.room import Room


def sequence_level(room: Room) -> Labels:
    """Asks for every answer that is not there yet, then gives lessons on them.

    Raises:
        Unsupported: several teachers: answers cannot be mixed.
    """
    teacher = room.teachers[0]
    prompts = [example.messages for example in room.data.examples["train"]]
    longest = int(room.data.teacher_encoded["train"].positions.max())
    progress = room.report.progress("", len(prompts), "examples")
    file = AnswerFile(room.folder.targets("answers") / "train.jsonl", f"{teacher.identity} {room.train.sha256}")
    answers = file.complete(
        len(prompts), lambda numbers: teacher.answers([prompts[n] for n in numbers], longest), progress.add
    )
    encoded = Encoded.of(
        [room.tokenizer.answered(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    )
    return Labels(encoded, room.spec.budget.tokens_per_step, room.spec.seed, room.group.size)
