"""What a student itself says to the held-out prompts: text on which its own errors pile up, as when it is served."""

from pathlib import Path
from typing import Final

import msgspec

from seodang.distillation.data import Encoded
from seodang.distillation.folder import write_whole
from seodang.distillation.recipes import Room
from seodang.distillation.training.sampler import sample
from seodang.distillation.training.student import Student

PROMPTS: Final = 200


def own_text(room: Room, subject: str, student: Student, held_out: Encoded, max_new_tokens: int) -> Encoded:
    """Answers sampled at temperature 1 to the first prompts; they are kept in the job's folder. Reports progress."""
    count = min(PROMPTS, len(held_out))
    prompts = [held_out.ids(index)[: held_out.answers(index)[0][0]].tolist() for index in range(count)]
    kept: Path = room.folder.evaluation(subject) / "own-text.json"
    if not kept.exists():
        answers = sample(
            student,
            prompts,
            end_id=room.tokenizer.end_id,
            max_new_tokens=max_new_tokens,
            temperature=1.0,
            seed=room.spec.seed % 2**31,
            on_answers=room.report.progress(subject, count, "examples").add,
        )
        write_whole(kept, msgspec.json.encode(answers))
    answers = msgspec.json.decode(kept.read_bytes(), type=list[list[int]])
    return Encoded.of([([*prompt, *answer], len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)])
