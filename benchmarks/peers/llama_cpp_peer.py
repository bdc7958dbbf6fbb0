"""llama.cpp: prompts and sequences decode together through its batch interface, as its own server does it."""

import ctypes
import time

import llama_cpp
import numpy as np

from benchmarks.peers.work import Batch, Work, installed, serve

BATCH_TOKENS, PHYSICAL_BATCH_TOKENS = 2048, 512
"""llama.cpp's own defaults."""


class LlamaCpp:
    def __init__(self, work: Work) -> None:
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(work.checkpoint.encode(), model_params)
        params = llama_cpp.llama_context_default_params()
        sequences = max(work.levels)
        params.n_ctx = sequences * -(-work.context_tokens // 256) * 256
        params.n_batch, params.n_ubatch, params.n_seq_max = BATCH_TOKENS, PHYSICAL_BATCH_TOKENS, sequences
        params.n_threads = params.n_threads_batch = work.threads
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._model or not self._context:
            raise RuntimeError(f"llama.cpp did not load {work.checkpoint}")
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._vocabulary = work.vocabulary
        self.weight_bytes = int(llama_cpp.llama_model_size(self._model))
        features = llama_cpp.llama_print_system_info().decode().replace(" = 1", "").strip(" |")
        self.versions = {name: f"{version} ({features})" for name, version in installed("llama-cpp-python").items()}

    def run(self, prompts: list[list[int]], new_tokens: int) -> Batch:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)
        started = time.perf_counter()
        first_s, first_tokens = [0.0] * len(prompts), [0] * len(prompts)
        for sequence, token in self._prefill(prompts):
            first_s[sequence], first_tokens[sequence] = time.perf_counter() - started, token
        tokens = list(first_tokens)
        for step in range(new_tokens - 1):
            position = len(prompts[0]) + step
            entries = [(token, position, sequence, True) for sequence, token in enumerate(tokens)]
            tokens = [token for _, token in self._decode(entries)]
        return Batch(first_s, time.perf_counter() - started, first_tokens)

    def _prefill(self, prompts: list[list[int]]):  # type: ignore[no-untyped-def]
        """Sequence and first token, as batches are full."""
        entries = [
            (token, position, sequence, position == len(prompt) - 1)
            for sequence, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
        ]
        for begin in range(0, len(entries), BATCH_TOKENS):
            yield from self._decode(entries[begin : begin + BATCH_TOKENS])

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> list[tuple[int, int]]:
        """Sequence and greedy next token of each entry whose output is wanted."""
        batch = self._batch
        batch.n_tokens = len(entries)
        for row, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[row], batch.pos[row], batch.logits[row] = token, position, wanted
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence
        status = llama_cpp.llama_decode(self._context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status} for {len(entries)} tokens")
        return [(sequence, self._argmax(row)) for row, (_, _, sequence, wanted) in enumerate(entries) if wanted]

    def _argmax(self, row: int) -> int:
        logits = llama_cpp.llama_get_logits_ith(self._context, row)
        pointer = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float))
        return int(np.ctypeslib.as_array(pointer, shape=(self._vocabulary,)).argmax())


if __name__ == "__main__":
    serve(LlamaCpp)
