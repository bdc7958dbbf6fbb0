"""Bytes a second that all threads together read from memory: the ceiling of decoding.

python -m benchmarks.peers.bandwidth THREADS
"""

import sys
import time

import torch

READ_BYTES = 2 * 2**30
"""More than any cache holds."""
ROUNDS = 7


def read_bytes_per_s() -> float:
    """By torch's threads, at their best."""
    numbers = torch.ones(READ_BYTES // 4, dtype=torch.float32)
    best_s = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        numbers.sum()
        best_s = min(best_s, time.perf_counter() - started)
    return READ_BYTES / best_s


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    print(read_bytes_per_s())


if __name__ == "__main__":
    main()
