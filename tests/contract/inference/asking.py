"""Short ways to put a request together and to take an answer apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.serving import wait_for

from seodang.api.inference.v1 import chat_pb2, generate_pb2, inference_pb2, score_pb2
from seodang.api.types.v1 import usage_pb2
from seodang.client import Client

MODEL = "models/tiny"


def generate(
    prompt: str | Sequence[int] | chat_pb2.Prompt = "서당",
    *,
    new: int | None = 8,
    greedy: bool = True,
    **fields: Any,
) -> generate_pb2.GenerateRequest:
    """A GenerateRequest."""
    content = prompt if isinstance(prompt, chat_pb2.Prompt) else as_prompt(prompt)
    request = generate_pb2.GenerateRequest(**({"model": MODEL, "prompt": content} | fields))
    if new is not None:
        request.max_new_tokens = new
    if greedy and not request.sampling.HasField("temperature"):
        request.sampling.temperature = 0.0
    return request


def as_prompt(content: str | Sequence[int]) -> chat_pb2.Prompt:
    """Text or ids."""
    return chat_pb2.Prompt(text=content) if isinstance(content, str) else token_ids(content)


def long_generation(**fields: Any) -> generate_pb2.GenerateRequest:
    """One that lasts until the context is full, some four thousand tokens."""
    return generate(new=None, stopping=generate_pb2.Stopping(ignore_end_tokens=True), **fields)


def token_ids(ids: Sequence[int]) -> chat_pb2.Prompt:
    """A prompt of ids."""
    return chat_pb2.Prompt(token_ids=chat_pb2.TokenIds(ids=ids))


def score(*sequences: Sequence[int] | score_pb2.ScoreSequence, **fields: Any) -> score_pb2.ScoreRequest:
    """A ScoreRequest; ``signals`` and other fields by name."""
    return score_pb2.ScoreRequest(
        **({"model": MODEL, "sequences": [_sequence(sequence) for sequence in sequences]} | fields)
    )


def _sequence(sequence: Sequence[int] | score_pb2.ScoreSequence) -> score_pb2.ScoreSequence:
    if isinstance(sequence, score_pb2.ScoreSequence):
        return sequence
    return score_pb2.ScoreSequence(token_ids=chat_pb2.TokenIds(ids=sequence))


@dataclass(frozen=True)
class Answer:
    """A finished generation."""

    accepted: generate_pb2.Accepted
    deltas: list[generate_pb2.Delta]
    finished: generate_pb2.Finished

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def tokens(self) -> list[generate_pb2.GeneratedToken]:
        return [token for delta in self.deltas for token in delta.tokens]

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]

    @property
    def usage(self) -> usage_pb2.Usage:
        return self.finished.usage


def ask(client: Client, request: generate_pb2.GenerateRequest) -> Answer:
    """Generates; asserts the order of events that the contract promises."""
    events = list(client.inference.Generate(request, timeout=60))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["accepted", *["delta"] * (len(kinds) - 2), "finished"]
    return Answer(events[0].accepted, [event.delta for event in events[1:-1]], events[-1].finished)


def ids_of(client: Client, prompt: chat_pb2.Prompt) -> list[int]:
    """The tokens of a prompt, as the server counts them."""
    request = inference_pb2.CountTokensRequest(model=MODEL, prompt=prompt, return_ids=True)
    answer = client.inference.CountTokens(request)
    assert answer.tokens == len(answer.ids)
    return list(answer.ids)


def wait_until_idle(client: Client) -> None:
    """Waits until no request of the model runs or waits."""

    def idle() -> bool:
        model = client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model
        return not model.running_requests and not model.waiting_requests

    wait_for(idle, "the server to be idle")


def chunks_of(events: Iterable[score_pb2.ScoreResponse]) -> list[score_pb2.ScoreChunk]:
    """The chunks of a scoring stream; asserts the order of events that the contract promises."""
    seen = list(events)
    kinds = [event.WhichOneof("event") for event in seen]
    assert kinds == ["accepted", *["chunk"] * (len(kinds) - 2), "finished"]
    return [event.chunk for event in seen[1:-1]]
