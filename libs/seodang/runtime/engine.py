"""One model being served: admission, and the step that moves every running request forward."""

import itertools
from collections.abc import Sequence as Seq

import torch

from seodang.base.errors import AlreadyExists, SeodangError
from seodang.runtime.admission import check_embed, check_generate, check_score
from seodang.runtime.batch import Batch, Row
from seodang.runtime.block import BlockPool
from seodang.runtime.completion import Completion, Drawing, describe
from seodang.runtime.executor import Executor
from seodang.runtime.grammar import Grammars
from seodang.runtime.sampler import draw
from seodang.runtime.scheduler import Scheduler, Share
from seodang.runtime.scoring import EmbedJob, Pooled, Scoring
from seodang.runtime.sequence import Sequence
from seodang.runtime.speculation import Speculation
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.faults import to_failed
from seodang.worker.messages import (
    Accepted,
    Embed,
    Event,
    Failed,
    Finished,
    FinishReason,
    Generate,
    LoadOptions,
    Score,
)


class Engine:
    """Requests of one model. ``step`` computes; everything else is bookkeeping."""

    def __init__(self, executor: Executor, tokenizer: Tokenizer, options: LoadOptions, context_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.executor = executor
        self.context_tokens = context_tokens
        self.scheduler = Scheduler(
            BlockPool(executor.cache.blocks),
            max_batch=options.max_batch,
            max_waiting=options.max_waiting,
            step_tokens=options.prefill_tokens,
        )
        self.speculation: Speculation | None = None
        """Set by whoever has a draft model for the engine."""
        self._requests: dict[str, list[Sequence]] = {}
        self._grammars = Grammars(tokenizer)
        self._scores_alone = options.reproducible_scores

    @property
    def busy(self) -> bool:
        """Whether a step has something to do."""
        return self.scheduler.has_work

    def step(self) -> list[Event]:
        """Compute one batch, and say what came of it."""
        shares = self.scheduler.schedule()
        if not shares:
            return []
        if self.speculation is not None:
            self.speculation.guess(shares)
        rows = [share.sequence.rows(share.count) for share in shares]
        self.executor.forward(Batch.of(list(itertools.chain(*rows))))
        outputs = self._advance(shares, rows)
        events = self._read(shares, outputs)
        return events + self._continue(shares, outputs)

    def generate(self, command: Generate) -> Accepted:
        """Queue a completion."""
        self._check_new(command.request_id)
        prompt = self.tokenizer.encode(command.prompt)
        check_generate(command, len(prompt), self.executor.vocab_size, self.context_tokens)
        grammar = None if command.constraint is None else self._grammars.start(command.constraint)
        self._queue(command.request_id, [Completion(command, prompt, self.tokenizer, self.context_tokens, grammar)])
        return Accepted(
            request_id=command.request_id,
            prompt_tokens=len(prompt),
            prompt_token_ids=tuple(prompt) if command.echo_prompt else (),
            prompt_text=self.tokenizer.decode(prompt, skip_special_tokens=False) if command.echo_prompt else "",
        )

    def score(self, command: Score, credits_: int) -> None:
        """Queue a scoring."""
        self._check_new(command.request_id)
        tokens = self.tokenizer.encode(command.prompt)
        check_score(command, len(tokens), self.executor.vocab_size, self.context_tokens)
        self._queue(command.request_id, [Scoring(command, tokens, credits_, alone=self._scores_alone)])

    def embed(self, command: Embed) -> None:
        """Queue the prompts of an embedding."""
        self._check_new(command.request_id)
        prompts = [self.tokenizer.encode(prompt) for prompt in command.prompts]
        check_embed(command, [len(prompt) for prompt in prompts], self.context_tokens)
        self._queue(command.request_id, EmbedJob(command, prompts).sequences)

    def add_credit(self, request_id: str, chunks: int) -> None:
        """Let a scoring go on by as many chunks."""
        for sequence in self._requests.get(request_id, ()):
            if isinstance(sequence, Scoring):
                sequence.credits += chunks

    def cancel(self, request_id: str) -> Finished | None:
        """End a request at once and free its blocks; the terminal event, if it was a completion."""
        sequences = self._forget(request_id)
        completions = [sequence for sequence in sequences if isinstance(sequence, Completion)]
        return completions[0].finish(FinishReason.CANCELLED) if completions else None

    def fail_all(self, error: SeodangError) -> list[Event]:
        """End every request with ``error``."""
        failed: list[Event] = [to_failed(request_id, error) for request_id in self._requests]
        for request_id in list(self._requests):
            self._forget(request_id)
        return failed

    def _advance(self, shares: Seq[Share], rows: Seq[Seq[Row]]) -> list[slice]:
        """Count the computed tokens, seal full blocks; the executor's outputs that belong to each share."""
        slices, begin = [], 0
        for share, own in zip(shares, rows, strict=True):
            slices.append(slice(begin, begin + sum(row.outputs.stop - row.outputs.start for row in own)))
            begin = slices[-1].stop
            share.sequence.computed += share.count
            self.scheduler.seal(share.sequence)
        return slices

    def _read(self, shares: Seq[Share], outputs: Seq[slice]) -> list[Event]:
        """Scores and vectors of the sequences that are read."""
        events: list[Event] = []
        for share, rows in zip(shares, outputs, strict=True):
            sequence = share.sequence
            if not isinstance(sequence, Scoring | Pooled):
                continue
            reply = sequence.take(self.executor, rows)
            if reply is not None:
                events.append(reply)
            if not sequence.remaining:
                self._end(sequence)
        return events

    def _continue(self, shares: Seq[Share], outputs: Seq[slice]) -> list[Event]:
        """Draw for every completion whose tokens are all computed: one token, and more while the guesses are right."""
        events: list[Event] = []
        drawing: list[Drawing] = []
        wanted: list[int] = []
        for share, rows in zip(shares, outputs, strict=True):
            if isinstance(share.sequence, Completion) and rows.start < rows.stop:
                drawing.append(Drawing(share.sequence, len(wanted)))
                wanted.extend(range(rows.start, rows.stop))
        if wanted:
            logits_RV = self.executor.logits(tuple(wanted), slice(0, self.executor.vocab_size))
            going = drawing
            while going:
                going = self._draw(going, logits_RV, events)
        if self.speculation is not None:
            self.speculation.learn(sum(each.completion.drawn for each in drawing))
        for each in drawing:
            each.completion.settle()
        return events

    def _draw(self, going: Seq[Drawing], logits_RV: torch.Tensor, events: list[Event]) -> list[Drawing]:
        """One token for each completion; those that had it guessed, and so go on."""
        ready: list[Drawing] = []
        masks: list[torch.Tensor | None] = []
        for each in going:
            try:
                grammar = each.completion.grammar
                masks.append(None if grammar is None else grammar.allowed())
                ready.append(each)
            except SeodangError as error:
                events.append(self._fail(each.completion, error))
        rows = [each.row for each in ready]
        logits_RV = logits_RV if len(rows) == len(logits_RV) else logits_RV[rows]
        tokens = draw(logits_RV, [each.completion.sampling for each in ready], masks) if ready else []
        for each, logits_V, token in zip(ready, logits_RV, tokens, strict=True):
            events += self._append(each.completion, token, logits_V)
        return [each for each in ready if each.completion.goes_on]

    def _append(self, completion: Completion, token: int, logits_V: torch.Tensor) -> list[Event]:
        """Give a completion its next token; the events of it, and of its end."""
        top = completion.command.top_logprobs
        logprob = None if top is None else describe(logits_V, token, top, self.tokenizer)
        events: list[Event] = [completion.append(token, logprob)]
        if completion.ended is None:
            return events
        text = completion.constrained_text()
        try:
            if text is not None and completion.command.constraint is not None:
                self._grammars.check(completion.command.constraint, text)
        except SeodangError as error:
            return [*events, self._fail(completion, error)]
        self._end(completion)
        return [*events, completion.ended]

    def _fail(self, sequence: Sequence, error: SeodangError) -> Failed:
        self._end(sequence)
        return to_failed(sequence.request_id, error)

    def _check_new(self, request_id: str) -> None:
        if request_id in self._requests:
            raise AlreadyExists(f"request {request_id} is under way; give every request an id of its own")

    def _queue(self, request_id: str, sequences: Seq[Sequence]) -> None:
        self._requests[request_id] = []
        try:
            for sequence in sequences:
                self.scheduler.add(sequence)
                self._requests[request_id].append(sequence)
        except SeodangError:
            self._forget(request_id)
            raise

    def _end(self, sequence: Sequence) -> None:
        self._leave(sequence)
        siblings = self._requests[sequence.request_id]
        siblings.remove(sequence)
        if not siblings:
            del self._requests[sequence.request_id]

    def _forget(self, request_id: str) -> list[Sequence]:
        sequences = self._requests.pop(request_id, [])
        for sequence in sequences:
            self._leave(sequence)
        return sequences

    def _leave(self, sequence: Sequence) -> None:
        self.scheduler.remove(sequence)
        if self.speculation is not None and isinstance(sequence, Completion):
            self.speculation.forget(sequence)
