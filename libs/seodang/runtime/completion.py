"""A completion: a sequence that draws tokens until something ends it."""

import time
from dataclasses import dataclass

import torch

from seodang.runtime.attention import BLOCK_TOKENS
from seodang.runtime.batch import Row
from seodang.runtime.grammar import Grammar
from seodang.runtime.sampler import SamplingState
from seodang.runtime.sequence import Sequence
from seodang.runtime.text_stream import TextStream
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import (
    Finished,
    FinishReason,
    Generate,
    TokenDelta,
    TokenLogprob,
    TopToken,
    Usage,
)


class Completion(Sequence):
    """A prompt being continued."""

    def __init__(
        self,
        command: Generate,
        prompt: list[int],
        tokenizer: Tokenizer,
        context_tokens: int,
        grammar: Grammar | None = None,
    ) -> None:
        super().__init__(command.request_id, list(prompt), command.priority)
        self.command = command
        self.prompt_tokens = len(prompt)
        self.sampling = SamplingState.start(command.sampling, prompt)
        self.grammar = grammar
        self.ended: Finished | None = None
        self.draft: list[int] = []
        """Guesses of the next tokens, computed in the same step as the last one."""
        self.drawn = 0
        """Tokens drawn in the step under way."""
        self.goes_on = False
        """Whether the last draw was the guess, so that the logits after it are known too."""
        self._drafted = self._accepted = 0
        room = context_tokens - len(prompt)
        self.limit = room if command.max_new_tokens is None else min(command.max_new_tokens, room)
        """Tokens to draw at most."""
        self._fills_context = self.limit == room
        self._tokenizer = tokenizer
        eos = () if command.ignore_eos else tokenizer.eos_token_ids
        self.stop_ids = frozenset(command.stop_token_ids) | frozenset(eos)
        piece = tokenizer.text_piece if command.skip_special_tokens else tokenizer.piece
        self._text = TextStream(piece, command.stop, include_stop=command.include_stop)

    @property
    def completion_tokens(self) -> int:
        """Tokens drawn so far."""
        return len(self.tokens) - self.prompt_tokens

    @property
    def room(self) -> int:
        """Tokens that it may still draw."""
        return self.limit - self.completion_tokens

    def outputs(self, count: int) -> slice:
        """The last token, once the step reaches it."""
        return slice(count - 1, count) if count == self.remaining else slice(0, 0)

    def rows(self, count: int) -> list[Row]:
        """Each guess is a row of its own: a layer stores its entries before it looks, so it sees those before it."""
        guesses = enumerate(self.draft, start=len(self.tokens))
        drafted = [Row([token], at, self.blocks[: at // BLOCK_TOKENS + 1], slice(0, 1)) for at, token in guesses]
        return super().rows(count) + drafted

    def settle(self) -> None:
        """The step is over: all tokens drawn in it but the last were guessed, and so computed."""
        self.computed += max(0, self.drawn - 1)
        self._drafted += len(self.draft)
        self.drawn, self.draft = 0, []

    def append(self, token: int, logprob: TokenLogprob | None) -> TokenDelta:
        """Take a drawn token; sets ``ended`` if it is the last."""
        if not self.clock.first_token:
            self.clock.first_token = time.monotonic()
        guessed = self.draft[self.drawn : self.drawn + 1] == [token]
        self.drawn += 1
        self._accepted += guessed
        self.tokens.append(token)
        self.sampling.note(token)
        if self.grammar is not None:
            self.grammar.take(token)
        is_stop = token in self.stop_ids
        text, stop = "", ""
        if not is_stop or self.command.include_stop:
            release = self._text.feed(token)
            text, stop = release.text, release.stop
        if reason := self._reason(is_stop=is_stop, stop=stop):
            if not stop:
                release = self._text.finish()
                text += release.text
            self.ended = self.finish(reason, stop_string=stop, stop_token_id=token if is_stop else None)
        self.goes_on = guessed and self.ended is None
        logprobs = () if logprob is None else (logprob,)
        return TokenDelta(request_id=self.request_id, token_ids=(token,), text=text, logprobs=logprobs)

    def constrained_text(self) -> str | None:
        """The answer that a grammar has let through to its end; None if there is none, or it was cut short."""
        if self.grammar is None or self.ended is None or not self.grammar.satisfied:
            return None
        content = self.tokens[self.prompt_tokens :]
        if content[-1] in self._tokenizer.eos_token_ids:
            content = content[:-1]
        return self._tokenizer.decode(content, skip_special_tokens=True)

    def finish(self, reason: FinishReason, *, stop_string: str = "", stop_token_id: int | None = None) -> Finished:
        """The terminal event."""
        clock, now = self.clock, time.monotonic()
        usage = Usage(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            queue_s=(clock.started or now) - clock.accepted,
            first_token_s=clock.first_token - clock.accepted if clock.first_token else 0.0,
            total_s=now - clock.accepted,
            drafted_tokens=self._drafted + len(self.draft),
            accepted_tokens=self._accepted,
        )
        return Finished(
            request_id=self.request_id,
            reason=reason,
            usage=usage,
            stop_string=stop_string,
            stop_token_id=stop_token_id,
        )

    def _reason(self, *, is_stop: bool, stop: str) -> FinishReason | None:
        if is_stop:
            return FinishReason.STOP_TOKEN
        if stop:
            return FinishReason.STOP_STRING
        if self.grammar is not None and self.grammar.complete:
            return FinishReason.GRAMMAR_COMPLETE
        if self.completion_tokens >= self.limit:
            return FinishReason.CONTEXT if self._fills_context else FinishReason.LENGTH
        return None


@dataclass(frozen=True, slots=True)
class Drawing:
    """A completion's part in the logits of a step: those after its last token, then those after each guess."""

    completion: Completion
    first: int

    @property
    def row(self) -> int:
        """Where the logits of its next token are."""
        return self.first + self.completion.drawn


def describe(logits_V: torch.Tensor, token: int, top: int, tokenizer: Tokenizer) -> TokenLogprob:
    """Log-probabilities of the drawn token and the ``top`` most likely ones, under the model's own distribution."""
    logprobs = logits_V.log_softmax(-1)

    def entry(index: int, value: float) -> TopToken:
        return TopToken(index, value, tokenizer.piece(index))

    values, ids = logprobs.topk(top) if top else (logprobs[:0], logprobs[:0].long())
    return TokenLogprob(
        entry(token, float(logprobs[token])),
        tuple(entry(index, value) for index, value in zip(ids.tolist(), values.tolist(), strict=True)),
    )
