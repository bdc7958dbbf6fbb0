"""Signals as a teacher makes them that draws systematically. P positions, V vocabulary, E entries in all."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]


def entries(log_p_PV: npt.NDArray[np.floating], head: int, draws: int) -> tuple[Array, Array, Array]:
    """The ``head`` likeliest tokens and equally spaced points on the mass of the others: entries a position [P], and
    ids and draws [E], rising within the exact ones and within the drawn ones.
    """
    counts, every_id, every_draw = [], [], []
    for log_p_V in log_p_PV:
        exact = np.sort(np.argsort(-log_p_V)[:head])
        tail_V = np.exp(log_p_V.astype(np.float64))
        tail_V[exact] = 0.0
        points = (np.arange(draws) + 0.5) / max(draws, 1) * tail_V.sum()
        drawn, times = np.unique(np.searchsorted(np.cumsum(tail_V), points, side="right"), return_counts=True)
        counts.append(len(exact) + len(drawn))
        every_id += [exact, drawn]
        every_draw += [np.zeros(len(exact), np.int64), times]
    return np.array(counts), np.concatenate(every_id), np.concatenate(every_draw)
