"""Engines over tiny checkpoints in this process, and a loop that drives them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from seodang.runtime.engine import Engine
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import (
    Event,
    Failed,
    Finished,
    Generate,
    LoadOptions,
    SamplingParams,
    TokenDelta,
    TokenPrompt,
)

GREEDY = SamplingParams(temperature=0.0)


def engine_of(folder: Path, **options: Any) -> Engine:
    """An engine on this process alone."""
    settings = LoadOptions(**{"cache_bytes": 2**22, **options})
    return load_engine("tiny", str(folder), settings, Ranks.alone(), lambda *_: None)[0]


def prompt_of(length: int, seed: int = 0) -> tuple[int, ...]:
    """Random token ids, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(7, 320, (length,), generator=generator).tolist())


def completion_of(request_id: str, prompt: tuple[int, ...], new_tokens: int, /, **fields: Any) -> Generate:
    """A greedy completion of exactly so many tokens, unless told otherwise."""
    settings = {
        "prompt": TokenPrompt(token_ids=prompt),
        "sampling": GREEDY,
        "ignore_eos": True,
        "max_new_tokens": new_tokens,
        **fields,
    }
    return Generate(request_id=request_id, model_id="tiny", **settings)


def drain(engine: Engine) -> list[Event]:
    """Step until nothing is left to do."""
    events: list[Event] = []
    while engine.busy:
        events += engine.step()
    return events


def tokens_of(events: Iterable[Event], request_id: str) -> list[int]:
    """The completion of one request."""
    deltas = (event for event in events if isinstance(event, TokenDelta) and event.request_id == request_id)
    return [token for delta in deltas for token in delta.token_ids]


def text_of(events: Iterable[Event], request_id: str) -> str:
    """The text of one request."""
    return "".join(e.text for e in events if isinstance(e, TokenDelta) and e.request_id == request_id)


def end_of(events: Iterable[Event], request_id: str) -> Finished:
    """The terminal event of one request, which must be a good one."""
    (end,) = [e for e in events if isinstance(e, Finished | Failed) and e.request_id == request_id]
    assert isinstance(end, Finished), end
    return end


def complete(engine: Engine, *commands: Generate) -> dict[str, list[int]]:
    """Run completions together and return their tokens."""
    for command in commands:
        engine.generate(command)
    events = drain(engine)
    return {command.request_id: tokens_of(events, command.request_id) for command in commands}


def reference(folder: Path) -> PreTrainedModel:
    """The same checkpoint as transformers loads and runs it."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def generate_by_transformers(model: PreTrainedModel, prompt: tuple[int, ...], new_tokens: int) -> list[int]:
    """Greedy tokens by transformers' own loop."""
    model.generation_config.eos_token_id = None
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False, pad_token_id=0
        )
    return output[0, len(prompt) :].tolist()
