import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from seodang.base.errors import Conflict, NotFound
from seodang.distillation.catalogue import Task
from seodang.distillation.data import Gathered, gather
from seodang.distillation.labelling import answered
from seodang.distillation.spec import Captured, Data, DatasetSource
from seodang.tasks import Example, Message

VERSION = "datasets/chat/versions/2"


def dataset(path: Path, count: int = 40) -> Data:
    rows = [
        {"messages": [{"role": "user", "content": f"question {n}"}], "answer": f"said {n}", "language": "en"}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    captured = Captured(
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(), interactions=count, prompts=count, first_time="",
        last_time="", models=(), consents=("notice",), redactions={},
    )  # fmt: skip
    return Data(source=DatasetSource(version=VERSION, path=str(path), captured=captured), eval_examples=10)


def test_a_version_of_captured_traffic_is_divided_and_named_as_such(tmp_path: Path) -> None:
    gathered = gather(dataset(tmp_path / "prompts.jsonl"), seed=1)
    assert (len(gathered.train), len(gathered.dev), len(gathered.eval)) == (29, 1, 10)
    assert (gathered.source, gathered.license) == (VERSION, "LicenseRef-Consented-Traffic")
    assert gathered.task is Task.EXACT


def test_a_withdrawn_version_is_not_read(tmp_path: Path) -> None:
    data = dataset(tmp_path / "prompts.jsonl")
    (tmp_path / "prompts.jsonl").unlink()
    with pytest.raises(NotFound, match="datasets/chat/versions/2 is not on this server, or was withdrawn"):
        gather(data, seed=1)


def test_a_version_that_was_changed_is_not_read(tmp_path: Path) -> None:
    data = dataset(tmp_path / "prompts.jsonl")
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write('{"messages": [{"role": "user", "content": "smuggled in"}], "answer": "x"}\n')
    with pytest.raises(Conflict, match="is not what was frozen"):
        gather(data, seed=1)


class Teacher:
    """Answers every prompt but one, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answers(self, prompts: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterable[str]:
        for prompt in prompts:
            text = prompt[-1].content
            self.asked.append(text)
            yield "" if text == "question 7" else text.replace("question", "answer")


def everyone(gathered: Gathered) -> list[Example]:
    return [*gathered.train, *gathered.dev, *gathered.eval]


def test_the_teacher_answers_in_place_of_the_student_that_was_asked(tmp_path: Path) -> None:
    gathered, teacher = gather(dataset(tmp_path / "prompts.jsonl"), seed=1), Teacher()
    done = answered(gathered, lambda example: True, teacher.answers, tmp_path / "answers.jsonl", "a claim")
    expected = {f"question {n}": f"answer {n}" for n in range(40) if n != 7}
    assert {example.messages[-1].content: example.answer for example in everyone(done)} == expected
    again = answered(gathered, lambda example: True, teacher.answers, tmp_path / "answers.jsonl", "a claim")
    assert again == done
    assert len(teacher.asked) == 40


def test_a_prompt_too_long_to_be_asked_is_left_to_be_counted(tmp_path: Path) -> None:
    gathered, teacher = gather(dataset(tmp_path / "prompts.jsonl"), seed=1), Teacher()
    fits = lambda example: not example.messages[-1].content.endswith("9")  # noqa: E731
    done = answered(gathered, fits, teacher.answers, tmp_path / "answers.jsonl", "a claim")
    assert not any(text.endswith("9") for text in teacher.asked)
    assert sorted(e.answer for e in everyone(done) if e.answer.startswith("said")) == [
        "said 19", "said 29", "said 39", "said 9",
    ]  # fmt: skip
