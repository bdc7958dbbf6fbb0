"""The answers that some passages can prove, as a grammar: a student held to it cannot quote what stands nowhere."""

import json
from collections.abc import Sequence

from seodang.adapters.search.passages import sentences
from seodang.tasks import search


def answer_grammar(passages: Sequence[str]) -> str:
    """A Lark grammar, as llguidance reads it, of ``TEXT [n] "QUOTE"`` lines and of ``no answer``.

    QUOTE is a whole sentence of passage n and TEXT a part of it. Which of them is true to the question is left to the
    student.

    Args:
        passages: as the student sees them, each on one line; passage 1 is ``passages[0]``.
    """
    rules: list[str] = []
    quotes = [(number, quote) for number, passage in enumerate(passages, start=1) for quote in sentences(passage)]
    for index, (number, quote) in enumerate(quotes):
        tail = f' [{number}] "{quote}"'
        part = json.dumps({"substring_chars": quote}, ensure_ascii=False)
        rules += [
            f"sentence_{index}: TEXT_{index} {json.dumps(tail, ensure_ascii=False)}",
            f"TEXT_{index}: /.+/ & PART_{index}",
            f"PART_{index}: %regex {part}",
        ]
    choices = " | ".join(f"sentence_{index}" for index in range(len(quotes)))
    start = f'start: {json.dumps(search.NO_ANSWER)} | sentence ("\\n" sentence)*'
    return "\n".join([start, f"sentence: {choices}", *rules])
