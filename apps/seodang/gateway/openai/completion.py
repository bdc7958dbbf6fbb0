"""``POST /v1/completions``: the body, the request to the mesh that it means, and the reply."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from pydantic import Field

from seodang.api.inference.v1 import chat_pb2, generate_pb2
from seodang.base.errors import InvalidInput
from seodang.gateway.generation import Generation, Whole
from seodang.gateway.openai.body import Text
from seodang.gateway.openai.logprobs import TextLogprobs
from seodang.gateway.openai.reply import Envelope, finish_reason, usage_of
from seodang.gateway.openai.sampling import SamplingBody
from seodang.gateway.upstreams import resource_name

_TokenId = Annotated[int, Field(ge=0, le=2**32 - 1)]


class CompletionBody(SamplingBody):
    """A prompt without a chat template: text, or token ids of the model's own tokenizer."""

    prompt: Text | list[Text] | list[_TokenId]
    """One prompt. Several are several requests, which the server batches by itself."""
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    """How many alternatives to report with each token."""
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None

    def request(self, request_id: str) -> generate_pb2.GenerateRequest:
        """The request to the mesh.

        Raises:
            InvalidInput: no prompt, or more than one.
        """
        return generate_pb2.GenerateRequest(
            request_id=request_id,
            model=resource_name(self.model),
            prompt=self._prompt(),
            sampling=self.sampling(),
            stopping=self.stopping(),
            max_new_tokens=self.max_tokens,
            logprobs=self.logprobs is not None,
            top_logprobs=self.logprobs or 0,
            priority=self.priority,
        )

    def _prompt(self) -> chat_pb2.Prompt:
        if isinstance(self.prompt, str):
            return chat_pb2.Prompt(text=self.prompt)
        texts = [part for part in self.prompt if isinstance(part, str)]
        if not texts and self.prompt:
            ids = [part for part in self.prompt if isinstance(part, int)]
            return chat_pb2.Prompt(token_ids=chat_pb2.TokenIds(ids=ids))
        if len(texts) != 1:
            raise InvalidInput(f"{len(texts)} prompts: send exactly one a request, side by side", field="prompt")
        return chat_pb2.Prompt(text=texts[0])


class CompletionReply:
    """Turns one generation into OpenAI's objects."""

    def __init__(self, body: CompletionBody) -> None:
        self._logprobs = TextLogprobs() if body.logprobs is not None else None
        self._includes_usage = body.includes_usage()

    def whole(self, done: Whole) -> dict[str, object]:
        """The reply as one object."""
        choice = self._choice(done.text, done.tokens, finish_reason(done.finished))
        envelope = Envelope.of("cmpl", done.accepted)
        return envelope.around("text_completion", [choice], usage=usage_of(done.finished.usage))

    async def chunks(self, generation: Generation) -> AsyncIterator[dict[str, object]]:
        """The reply as chunks."""
        envelope = Envelope.of("cmpl", generation.accepted)
        usage: dict[str, object] = {"usage": None} if self._includes_usage else {}
        async for event in generation.events:
            if isinstance(event, generate_pb2.Finished):
                yield envelope.around("text_completion", [self._choice("", [], finish_reason(event))], **usage)
                if self._includes_usage:
                    yield envelope.around("text_completion", [], usage=usage_of(event.usage))
            elif event.text or self._logprobs:
                yield envelope.around("text_completion", [self._choice(event.text, list(event.tokens), None)], **usage)

    def _choice(self, text: str, tokens: list[generate_pb2.GeneratedToken], finish: str | None) -> dict[str, object]:
        logprobs = self._logprobs.of(tokens) if self._logprobs and tokens else None
        return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}
