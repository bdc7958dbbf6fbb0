"""The corpora that a job may name: which sources they mix, under which licences, and how their answers are judged.

Nothing here imports torch, and the sources themselves, an optional extra, are imported only to be opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from seodang.base.errors import NotFound


class Task(StrEnum):
    """How answers are judged. The values are the metrics' names, for people."""

    TOOL_CALL = "exact tool call"
    GROUNDED = "exact grounded answer"
    REPLY = "reply bigram f1"
    MISSION = "mission success"
    EXACT = "exact answer"


@dataclass(frozen=True)
class Source:
    """A source of ``seodang.corpora`` within a corpus."""

    name: str
    language: str
    license: str
    train_examples: int
    """How many it gives when all are wanted; a source from a file gives at most what it has."""
    turns: int = 1
    """Questions asked in each training example about what it begins with."""


@dataclass(frozen=True)
class Corpus:
    """A named set of examples."""

    name: str
    description: str
    task: Task
    sources: tuple[Source, ...]
    eval_examples: int
    """Held-out examples (missions: episodes) that are measured unless the job says otherwise."""

    @property
    def license(self) -> str:
        """SPDX expression over all sources."""
        return " AND ".join(sorted({source.license for source in self.sources}))

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of its examples."""
        return tuple(sorted({source.language for source in self.sources}))

    def missing(self) -> str:
        """What is not at hand on this machine; empty if all is."""
        from seodang.corpora import MissingData, open_source

        for source in self.sources:
            try:
                next(open_source(source.name))
            except MissingData as error:
                return error.message
        return ""


_HOME = (Source("home-ko", "ko", "CC-BY-4.0", 12_000), Source("home-en", "en", "CC-BY-4.0", 12_000))
_BABYAI = (Source("babyai-ko", "ko", "Apache-2.0", 8_000, 4), Source("babyai-en", "en", "Apache-2.0", 8_000, 4))
# The made-up worlds of grounded questions are this project's own.
_GROUNDED = (Source("grounded-ko", "ko", "Apache-2.0", 8_000, 3), Source("grounded-en", "en", "Apache-2.0", 8_000, 3))
_CLINC150 = Source("clinc150", "en", "CC-BY-3.0", 20_000)
_HWU64 = Source("hwu64", "en", "CC-BY-4.0", 20_000)
_SONGYS = Source("songys", "ko", "MIT", 20_000)

CORPORA: Mapping[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus("home", "Home commands, Korean and English, to tool calls", Task.TOOL_CALL, _HOME, 400),
        Corpus("clinc150", "Assistant requests to one of 150 intents", Task.TOOL_CALL, (_CLINC150,), 600),
        Corpus("hwu64", "Assistant requests to one of 64 intents with slots", Task.TOOL_CALL, (_HWU64,), 600),
        Corpus(
            "assistant",
            "Home commands and the requests of clinc150 and hwu64, to tool calls",
            Task.TOOL_CALL,
            (*_HOME, _CLINC150, _HWU64),
            800,
        ),
        Corpus("grounded", "Questions answered with a quote from numbered passages", Task.GROUNDED, _GROUNDED, 400),
        Corpus("songys", "Korean small talk, one short reply each", Task.REPLY, (_SONGYS,), 400),
        Corpus("babyai", "Robot missions of BabyAI, one action an observation", Task.MISSION, _BABYAI, 200),
    )
}


class UnknownCorpus(NotFound):
    """No corpus has that name."""

    default_reason = "UNKNOWN_CORPUS"


def find_corpus(name: str) -> Corpus:
    """The corpus of that name.

    Raises:
        UnknownCorpus: there is none; the text names those there are.
    """
    if name not in CORPORA:
        raise UnknownCorpus(f"no corpus {name!r}: choose from {', '.join(CORPORA)}")
    return CORPORA[name]
