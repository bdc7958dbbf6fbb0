"""Published intent data sets as tool calls: the intent is the tool, its slots are the arguments.

Each is read from ``SEODANG_DATA_DIR``. CLINC150 keeps its published split; of the others every tenth text is kept out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seodang.corpora.files import held_out, rows
from seodang.tasks import Example, assistant

_HELD_OUT_ONE_IN = 10
Row = dict[str, Any]
Arguments = dict[str, assistant.ArgumentValue]


@dataclass(frozen=True)
class IntentSet:
    """Where one data set lies, its language, and how a row gives arguments and says its split."""

    file_name: str
    language: str
    arguments: Callable[[Row], Arguments]
    is_dev: Callable[[Row], bool]


def _none(row: Row) -> Arguments:
    del row
    return {}


def _hwu64_arguments(row: Row) -> Arguments:
    return {entity["entity"]: entity["value"] for entity in row["entities"]}


def _snips_arguments(row: Row) -> Arguments:
    return {slot["slot"]: slot["value"].strip() for slot in row["slots"]}


def _kochat_arguments(row: Row) -> Arguments:
    """Words tagged B-X, S-X, I-X ... of one kind make one argument; the tags are one a word."""
    found: dict[str, list[str]] = {}
    for word, tag in zip(row["text"].split(), row["bio"], strict=False):
        if tag != "O":
            found.setdefault(tag.split("-", 1)[-1].lower(), []).append(word)
    return {kind: " ".join(words) for kind, words in found.items()}


def _tenth(row: Row) -> bool:
    return held_out(row["text"], _HELD_OUT_ONE_IN)


def _published_dev(row: Row) -> bool:
    return str(row["split"]).endswith("val")


INTENT_SETS: Mapping[str, IntentSet] = {
    assistant.CLINC150: IntentSet("clinc150.jsonl.gz", "en", _none, _published_dev),
    assistant.HWU64: IntentSet("hwu64.jsonl.gz", "en", _hwu64_arguments, _tenth),
    "banking77": IntentSet("banking77.jsonl.gz", "en", _none, _tenth),
    "snips": IntentSet("snips.jsonl.gz", "en", _snips_arguments, _tenth),
    "kochat": IntentSet("kochat_nlu.jsonl.gz", "ko", _kochat_arguments, _tenth),
}


def example(catalogue: str, text: str, call: assistant.ToolCall, language: str) -> Example:
    """A request in the words of a data set and the call that it means."""
    return Example(
        messages=tuple(assistant.messages(assistant.AssistantRequest(text, catalogue))),
        answer=assistant.render(call),
        source=catalogue,
        group=call.name,
        language=language,
    )


def examples(catalogue: str, split: str) -> Iterator[Example]:
    """The rows of one data set that belong to the split, in file order.

    Raises:
        MissingData: the file is not in ``SEODANG_DATA_DIR``.
    """
    dataset = INTENT_SETS[catalogue]
    for row in rows(dataset.file_name):
        if dataset.is_dev(row) == (split == "dev"):
            call = assistant.ToolCall(row["intent"], dataset.arguments(row))
            yield example(catalogue, row["text"].strip(), call, dataset.language)
