"""The real llama.cpp on one GGUF file: its own server, in this process, asked over HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
import numpy.typing as npt
import xllamacpp

_CONTEXT = 1024


@dataclass(frozen=True)
class Generated:
    """A greedy completion of N tokens."""

    tokens: list[int]
    """One that ends the answer is not among them."""
    steps_K: list[int]
    """Which tokens ``log_probs_KV`` are about: the server leaves out those that end within a character."""
    log_probs_KV: npt.NDArray[np.float32]
    """What the token of each step was chosen from, the end included if there is one."""
    ended: bool
    """By a token, not by the limit."""


class LlamaCpp:
    """A served model; close by ``with``. The cache is float32, so that only the weights are rounded."""

    def __init__(self, path: Path, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        settings = xllamacpp.CommonParams()
        settings.model.path = str(path)
        settings.n_ctx, settings.n_parallel, settings.warmup, settings.port, settings.verbosity = (
            _CONTEXT,
            1,
            False,
            0,
            0,
        )
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._server: Any = xllamacpp.Server(settings)
        self._http = httpx.Client(base_url=self._server.listening_address, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        del self._server

    def tokenize(self, text: str, *, add_special: bool = False) -> list[int]:
        """Token ids of a text, control tokens in it included."""
        body = {"content": text, "add_special": add_special, "parse_special": True}
        return list(self._post("/tokenize", body)["tokens"])

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of token ids."""
        return str(self._post("/detokenize", {"tokens": list(tokens)})["content"])

    def generate(self, prompt: Sequence[int], new_tokens: int) -> Generated:
        """The likeliest token, again and again."""
        answer = self._post(
            "/completion",
            {
                "prompt": list(prompt),
                "n_predict": new_tokens,
                "temperature": 0.0,
                "n_probs": self.vocab_size,
                "cache_prompt": False,
                "return_tokens": True,
            },
        )
        tokens, told = list(answer["tokens"]), answer["completion_probabilities"]
        steps = [-1]
        log_probs = np.full((len(told), self.vocab_size), -np.inf, np.float32)
        for row, step in zip(log_probs, told, strict=True):
            steps.append(tokens.index(step["id"], steps[-1] + 1))
            for each in step["top_logprobs"]:
                row[each["id"]] = each["logprob"]
        ended = answer["stop_type"] == "eos"
        return Generated(tokens[:-1] if ended else tokens, steps[1:], log_probs, ended)

    def chat(self, messages: Sequence[dict[str, str]], new_tokens: int) -> str:
        """The answer's text by the file's own chat template, greedily."""
        body = {"messages": list(messages), "max_tokens": new_tokens, "temperature": 0.0}
        return str(self._post("/v1/chat/completions", body)["choices"][0]["message"]["content"])

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = self._http.post(path, json=body)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found
