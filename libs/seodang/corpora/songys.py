"""Korean small talk: Songys' chatbot pairs (MIT), read from ``SEODANG_DATA_DIR``; every tenth question is kept out."""

from collections.abc import Iterator

from seodang.corpora.files import held_out, rows
from seodang.tasks import Example, messaging

_HELD_OUT_ONE_IN = 10


def examples(split: str) -> Iterator[Example]:
    """Question and reply pairs of the split, in file order.

    Raises:
        MissingData: the file is not in ``SEODANG_DATA_DIR``.
    """
    for row in rows("songys_chatbot.jsonl.gz"):
        question = row["question"].strip()
        if held_out(question, _HELD_OUT_ONE_IN) == (split == "dev"):
            yield Example(
                messages=tuple(messaging.messages(messaging.MessagingRequest(question))),
                answer=row["answer"].strip(),
                source="songys",
                group=row["answer"].strip(),
                language="ko",
            )
