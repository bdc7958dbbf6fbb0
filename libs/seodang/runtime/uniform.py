"""Random numbers from counters: the same (seed, index) gives the same number, whatever was drawn in between."""

import secrets

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def fresh_seed() -> int:
    """A seed that nobody can guess."""
    return secrets.randbits(63)


def uniforms(seed: int, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """One number in [0, 1) for each index, by SplitMix64 (Steele, Lea and Flood, 2014) over seed and index."""
    with np.errstate(over="ignore"):
        base = _mix(np.full(1, seed & 0xFFFFFFFFFFFFFFFF, np.uint64) + _GOLDEN)
        mixed = _mix(_mix(base + indices.astype(np.uint64) * _GOLDEN) ^ base)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
