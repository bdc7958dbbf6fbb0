"""How far a student is from its teacher on what the student itself says: the error that grows while it is served.

P positions of the answers that it sampled, K candidates a position.
"""

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch

from seodang.distillation.data import Encoded
from seodang.distillation.folder import write_whole
from seodang.distillation.loss import Objective, distillation_loss
from seodang.distillation.recipes import Room
from seodang.distillation.recipes.candidates import candidate_signal, choose_candidates
from seodang.distillation.spec import SampledTarget
from seodang.distillation.targets import Unit, score_units
from seodang.distillation.training import micro_batches
from seodang.distillation.training.engine import trained_hidden
from seodang.distillation.training.sampler import sample
from seodang.distillation.training.student import Student

PROMPTS: Final = 200
CANDIDATES: Final = SampledTarget(head=16, tail_draws=16)


def own_text_kl(room: Room, subject: str, student: Student, held_out: Encoded, max_new_tokens: int) -> float:
    """KL(student | teacher) in nats a position, unbiased, on answers sampled at temperature 1 to the first prompts.

    The first teacher scores the candidates that the student chooses; answers and scores are kept in the job's folder.
    """
    own = _answered(room, subject, student, held_out, max_new_tokens)
    batches = micro_batches(own, np.arange(len(own)))
    chosen = choose_candidates(student, batches, CANDIDATES.head + CANDIDATES.tail_draws, 1.0, (room.spec.seed,))
    store = room.store(f"own-{subject}", 0, CANDIDATES, own.sha256, temperature=1.0, packed=False, candidates=True)
    shard = score_units(store, [Unit("00000000", own, chosen.ids_PK)], room.teachers[0], lambda positions: None)
    objective = Objective("reverse_kl")
    total = 0.0
    with torch.no_grad():
        for made in batches:
            batch = made.to(student.device)
            signal = candidate_signal(shard, chosen, batch.rows_N).to(student.device)
            hidden_NH = trained_hidden(student, batch)
            kl = distillation_loss(hidden_NH, student.head_VH, batch.labels_N, signal, objective).divergence
            total += float(kl) * len(batch.labels_N)
    return total / int(own.positions.sum())


def _answered(room: Room, subject: str, student: Student, held_out: Encoded, max_new_tokens: int) -> Encoded:
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
        )
        write_whole(kept, msgspec.json.encode(answers))
    answers = msgspec.json.decode(kept.read_bytes(), type=list[list[int]])
    return Encoded.of([([*prompt, *answer], len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)])
