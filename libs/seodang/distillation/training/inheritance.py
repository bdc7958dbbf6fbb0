"""What a student may take over from its teacher before the first step: which tokens are alike.

V vocabulary, H width of the teacher, W width of the student.
"""

import numpy as np
import numpy.typing as npt
import torch

from seodang.distillation.training.student import Student


def inherit_embeddings(student: Student, head_VH: npt.NDArray[np.float32], seed: int) -> None:
    """Starts the student's token table from the principal directions of the teacher's output head.

    The W directions in which the teacher's tokens differ most are turned at random, so that no coordinate
    of the student holds more of them than another, and scaled to the size of a random table. A rare word then begins
    beside the words that the teacher takes for similar, before the student has seen it.

    Args:
        student: changed in place.
        head_VH: the teacher's output head.
        seed: of the turn.
    """
    table_VW = student.model.get_input_embeddings().weight
    width = table_VW.shape[1]
    centred_VH = head_VH.astype(np.float64) - head_VH.mean(axis=0, dtype=np.float64)
    _, _, directions = np.linalg.svd(centred_VH, full_matrices=False)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))
    known = min(width, len(directions))
    start_VW = centred_VH @ directions[:known].T @ rotation[:known]
    with torch.no_grad():
        start_VW *= float(table_VW.std()) / start_VW.std()
        table_VW.copy_(torch.from_numpy(start_VW))
