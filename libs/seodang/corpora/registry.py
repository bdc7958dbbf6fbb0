"""All sources of solved requests by name."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping

from seodang.base.errors import InvalidInput, NotFound
from seodang.corpora import babyai, grounded, home, intents, songys
from seodang.corpora.probes import Turn, probes
from seodang.tasks import Example, Message, Role

SPLITS = ("train", "dev")
_LANGUAGES = ("ko", "en")
Opener = Callable[[str, int], Iterator[Example]]
Converser = Callable[[int, int], Iterator[tuple[Example, list[Turn]]]]


class UnknownSource(NotFound):
    """No data source has that name."""

    default_reason = "UNKNOWN_SOURCE"


def _generated(examples: Callable[[str, str, int], Iterator[Example]], language: str) -> Opener:
    return lambda split, seed: examples(language, split, seed)


def _catalogue(name: str) -> Opener:
    return lambda split, seed: intents.examples(name, split)


SOURCES: Mapping[str, Opener] = {
    **{f"home-{language}": _generated(home.examples, language) for language in _LANGUAGES},
    **{f"babyai-{language}": _generated(babyai.examples, language) for language in _LANGUAGES},
    **{f"grounded-{language}": _generated(grounded.examples, language) for language in _LANGUAGES},
    **{name: _catalogue(name) for name in intents.INTENT_SETS},
    "songys": lambda split, seed: songys.examples(split),
}


def _missions(language: str) -> Converser:
    def converse(seed: int, turns: int) -> Iterator[tuple[Example, list[Turn]]]:
        rng = random.Random(f"probes {language} {seed}")
        for first, *others in babyai.conversations(language, "train", seed, turns - 1):
            yield first, [*map(_turn, others), *probes(first, rng)]

    return converse


def _questions(language: str) -> Converser:
    def converse(seed: int, turns: int) -> Iterator[tuple[Example, list[Turn]]]:
        for first, *others in grounded.conversations(language, "train", seed):
            yield first, [_turn(other) for other in others[: turns - 1]]

    return converse


CONVERSATIONS: Mapping[str, Converser] = {
    **{f"babyai-{language}": _missions(language) for language in _LANGUAGES},
    **{f"grounded-{language}": _questions(language) for language in _LANGUAGES},
}


def open_source(name: str, split: str = "train", seed: int = 0, limit: int | None = None) -> Iterator[Example]:
    """The examples of one source, always the same for the same arguments.

    ``home-*``, ``babyai-*`` and ``grounded-*`` are generated and never end without a ``limit``; the others are files of
    ``SEODANG_DATA_DIR`` and end.

    Raises:
        UnknownSource: no such name.
        InvalidInput: a split other than ``train`` and ``dev``, or a negative limit.
        MissingData: the source's file is not there (when the first example is asked for).
    """
    if name not in SOURCES:
        raise UnknownSource(f"no data source {name!r}: choose from {', '.join(SOURCES)}")
    if split not in SPLITS:
        raise InvalidInput(f"no split {split!r}: choose from {', '.join(SPLITS)}", field="split")
    if limit is not None and limit < 0:
        raise InvalidInput(f"limit={limit}: must not be negative", field="limit")
    return itertools.islice(SOURCES[name](split, seed), limit)


def open_conversations(name: str, turns: int, seed: int = 0, limit: int | None = None) -> Iterator[Example]:
    """Training examples that ask up to ``turns`` things about one room or one set of passages, each answered.

    The room or the passages, which are long, stand once in the first question; the earlier answers are assistant turns
    of ``messages``. Of a room it is also asked where things are (``seodang.corpora.probes``).

    Raises:
        UnknownSource: no such name, or a source whose requests have nothing in common.
        InvalidInput: fewer than one turn.
        MissingData: as ``open_source``.
    """
    if name not in CONVERSATIONS:
        raise UnknownSource(f"{name!r} has no conversations: choose from {', '.join(CONVERSATIONS)}")
    if turns < 1:
        raise InvalidInput(f"turns={turns}: must be at least 1", field="turns")
    conversations = itertools.islice(CONVERSATIONS[name](seed, turns), limit)
    return (_joined(first, more) for first, more in conversations)


def _turn(example: Example) -> Turn:
    return example.messages[-1].content.rsplit("\n", 1)[1], example.answer


def _joined(first: Example, more: list[Turn]) -> Example:
    messages, answer = list(first.messages), first.answer
    for question, next_answer in more:
        messages += [Message(Role.ASSISTANT, answer), Message(Role.USER, question)]
        answer = next_answer
    return Example(tuple(messages), answer, first.source, first.group, first.language)
