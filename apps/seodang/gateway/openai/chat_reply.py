"""The reply of ``POST /v1/chat/completions``, whole or chunk by chunk."""

from collections.abc import AsyncIterator, Callable, Sequence

from seodang.api.inference.v1 import generate_pb2
from seodang.gateway.generation import Generation, Whole
from seodang.gateway.openai.chat_body import ChatBody
from seodang.gateway.openai.logprobs import chat_logprobs
from seodang.gateway.openai.reply import Envelope, finish_reason, usage_of
from seodang.gateway.openai.tool_answer import Outcome, Settled, ToolAnswer, ToolCall


class ChatReply:
    """Turns one generation into OpenAI's objects; ``on_settled`` hears what a request with tools was answered with."""

    def __init__(self, body: ChatBody, on_settled: Callable[[str, Outcome], None]) -> None:
        self._logprobs = bool(body.logprobs)
        self._includes_usage = body.includes_usage()
        self._names = {tool.function.name for tool in body.offered()}
        self._on_settled = on_settled

    def whole(self, done: Whole) -> dict[str, object]:
        """The reply as one object."""
        answer = ToolAnswer(self._names)
        text = answer.add(done.text)
        settled = self._settle(answer, done.accepted)
        message: dict[str, object] = {"role": "assistant", "content": text + settled.text, "refusal": None}
        if settled.calls:
            message |= {"content": None, "tool_calls": [_call(call) for call in settled.calls]}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": chat_logprobs(done.tokens) if self._logprobs else None,
            "finish_reason": _finish(settled, done.finished),
        }
        envelope = Envelope.of("chatcmpl", done.accepted)
        return envelope.around("chat.completion", [choice], usage=usage_of(done.finished.usage))

    async def chunks(self, generation: Generation) -> AsyncIterator[dict[str, object]]:
        """The reply as chunks, each as soon as its text is certain."""
        envelope = Envelope.of("chatcmpl", generation.accepted)
        answer = ToolAnswer(self._names)
        yield self._chunk(envelope, {"role": "assistant", "content": ""})
        async for event in generation.events:
            if isinstance(event, generate_pb2.Delta):
                text = answer.add(event.text)
                if text or (self._logprobs and event.tokens):
                    yield self._chunk(envelope, {"content": text}, event.tokens)
                continue
            settled = self._settle(answer, generation.accepted)
            if settled.calls:
                calls = [{"index": index, **_call(call)} for index, call in enumerate(settled.calls)]
                yield self._chunk(envelope, {"tool_calls": calls})
            elif settled.text:
                yield self._chunk(envelope, {"content": settled.text})
            yield self._chunk(envelope, {}, finish=_finish(settled, event))
            if self._includes_usage:
                yield envelope.around("chat.completion.chunk", [], usage=usage_of(event.usage))

    def _chunk(
        self,
        envelope: Envelope,
        delta: dict[str, object],
        tokens: Sequence[generate_pb2.GeneratedToken] = (),
        finish: str | None = None,
    ) -> dict[str, object]:
        logprobs = chat_logprobs(tokens) if self._logprobs and tokens else None
        choice: dict[str, object] = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        usage: dict[str, object] = {"usage": None} if self._includes_usage else {}
        return envelope.around("chat.completion.chunk", [choice], **usage)

    def _settle(self, answer: ToolAnswer, accepted: generate_pb2.Accepted) -> Settled:
        settled = answer.settle()
        if self._names:
            self._on_settled(accepted.model, settled.outcome)
        return settled


def _finish(settled: Settled, finished: generate_pb2.Finished) -> str:
    return "tool_calls" if settled.calls else finish_reason(finished)


def _call(call: ToolCall) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
