import json
from collections import Counter
from pathlib import Path

import pytest
from tests import tiny_checkpoints

from seodang.base.errors import Conflict, InvalidInput, NotFound
from seodang.distillation import find_corpus
from seodang.distillation.catalogue import Task
from seodang.distillation.data import ChatTokenizer, Encoded, Reader, freeze, gather, open_frozen
from seodang.distillation.spec import CorpusSource, Data, FileSource
from seodang.tasks import Example, Message, Role


def corpus(name: str, **changes: object) -> Data:
    return Data(source=CorpusSource(name=name), **changes)  # type: ignore[arg-type]


def file_data(path: Path, lines: list[object], **changes: object) -> Data:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return Data(source=FileSource(path=str(path)), **({"license": "MIT"} | changes))  # type: ignore[arg-type]


def row(number: int, **changes: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": f"question {number}"}], "answer": f"answer {number}"} | changes


def test_a_corpus_mixes_its_sources_and_keeps_parts_apart() -> None:
    gathered = gather(corpus("home", train_examples=200, eval_examples=40), seed=1)
    assert len(gathered.eval) == 40
    assert 150 < len(gathered.train) <= 200
    assert 0.4 < Counter(example.language for example in gathered.train)["ko"] / len(gathered.train) < 0.6
    prompts = {example.messages for example in gathered.train}
    assert not prompts & {example.messages for example in (*gathered.dev, *gathered.eval)}
    assert (gathered.license, gathered.task) == ("CC-BY-4.0", Task.TOOL_CALL)
    assert gathered == gather(corpus("home", train_examples=200, eval_examples=40), seed=1)
    assert gathered != gather(corpus("home", train_examples=200, eval_examples=40), seed=2)


def test_a_language_can_be_chosen() -> None:
    gathered = gather(corpus("home", train_examples=50, eval_examples=10, language="ko"), seed=1)
    assert {example.language for example in (*gathered.train, *gathered.eval)} == {"ko"}
    with pytest.raises(InvalidInput, match="nothing in 'en'"):
        gather(corpus("songys", language="en"), seed=1)


def test_an_unknown_corpus_names_those_there_are() -> None:
    with pytest.raises(NotFound, match="choose from home, "):
        find_corpus("hone")


def test_a_missing_file_of_a_corpus_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_DATA_DIR", str(tmp_path))
    assert "songys_chatbot.jsonl.gz" in find_corpus("songys").missing()
    assert find_corpus("home").missing() == ""


def test_a_file_is_divided_into_three(tmp_path: Path) -> None:
    gathered = gather(file_data(tmp_path / "d.jsonl", [row(n) for n in range(100)], eval_examples=20), seed=0)
    assert (len(gathered.train), len(gathered.dev), len(gathered.eval)) == (76, 4, 20)
    answers = [example.answer for part in (gathered.train, gathered.dev, gathered.eval) for example in part]
    assert sorted(answers) == sorted(f"answer {n}" for n in range(100))
    assert gathered.license == "MIT"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["{"], "d.jsonl:1 is not JSON"),
        ([row(1), {"messages": []}], "d.jsonl:2: need"),
        ([row(1, answer="")], "must not be empty"),
        ([row(1, messages=[{"role": "king", "content": "x"}])], "d.jsonl:1: need"),
        ([row(1)], "needs both"),
        ([], "needs both"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(tmp_path: Path, lines: list[object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        gather(file_data(tmp_path / "d.jsonl", lines), seed=0)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    data = file_data(tmp_path / "d.jsonl", [row(1)])
    (tmp_path / "d.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        gather(data, seed=0)


def test_a_file_needs_a_license(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="SPDX"):
        gather(file_data(tmp_path / "d.jsonl", [row(1)], license=""), seed=0)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_checkpoints.tokenizer().save_pretrained(folder)
    return ChatTokenizer(folder)


EXAMPLE = Example((Message(Role.SYSTEM, "tools: home"), Message(Role.USER, "거실 불을 켜 줘")), "네", "s", "g", "ko")


def test_a_sequence_is_the_prompt_then_the_answer_and_one_end(tokenizer: ChatTokenizer) -> None:
    ids, answered = tokenizer.sequence(EXAMPLE)
    asked = tokenizer.prompt(EXAMPLE.messages)
    assert ids[: len(asked)] == asked
    assert answered.tolist() == [False] * len(asked) + [True] * (len(ids) - len(asked))
    assert tokenizer.text(ids[len(asked) :]) == "네"
    assert ids[len(asked) :].count(tokenizer.end_id) == 1
    assert ids[-1] == tokenizer.end_id


def test_each_turn_of_the_assistant_is_an_answer(tokenizer: ChatTokenizer) -> None:
    more = (Message(Role.ASSISTANT, "네"), Message(Role.USER, "부엌 불도"))
    conversation = Example((*EXAMPLE.messages, *more), "아니요", "s", "g", "ko")
    ids, answered = tokenizer.sequence(conversation)
    encoded = Encoded.of([tokenizer.sequence(EXAMPLE), (ids, answered)])
    assert [tokenizer.text(ids[begin:end]) for begin, end in encoded.answers(1)] == ["네", "아니요"]
    assert all(ids[end - 1] == tokenizer.end_id for _, end in encoded.answers(1))
    assert ids[: encoded.answers(1)[-1][0]] == tokenizer.prompt(conversation.messages)
    assert encoded.positions.tolist() == [sum(end - begin for begin, end in encoded.answers(n)) for n in range(2)]


def test_what_a_template_writes_between_the_turns_belongs_to_the_question(tmp_path: Path) -> None:
    core = tiny_checkpoints.tokenizer()
    core.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}"
        "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %} | {% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    core.save_pretrained(tmp_path)
    tokenizer = ChatTokenizer(tmp_path)
    conversation = Example(
        (*EXAMPLE.messages, Message(Role.ASSISTANT, "네"), EXAMPLE.messages[1]), "네", "s", "g", "ko"
    )
    ids, answered = tokenizer.sequence(conversation)
    (_, first_end), (second, _) = Encoded.of([(ids, answered)]).answers(0)
    assert tokenizer.text(ids[first_end:second]) == " | user: 거실 불을 켜 줘 | assistant: "


def test_a_template_that_rewrites_prompts_is_refused(tmp_path: Path) -> None:
    core = tiny_checkpoints.tokenizer()
    core.chat_template = "{{ messages | length }}" + tiny_checkpoints.CHAT_TEMPLATE
    core.save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match="renders a prompt differently"):
        ChatTokenizer(tmp_path).sequence(EXAMPLE)


def test_frozen_examples_come_back_as_they_were(tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    gathered = gather(file_data(tmp_path / "d.jsonl", [row(n) for n in range(40)]), seed=0)
    freeze(tmp_path / "data", gathered, Reader(tokenizer, "t" * 64, 64))
    frozen = open_frozen(tmp_path / "data", "t" * 64)
    assert frozen.examples == {"train": gathered.train, "dev": gathered.dev, "eval": gathered.eval}
    for split, examples in frozen.examples.items():
        encoded = frozen.encoded[split]
        expected = Encoded.of([tokenizer.sequence(example) for example in examples])
        assert encoded.sha256 == expected.sha256


def test_what_exceeds_the_context_is_left_out_and_counted(tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    lines = [row(n, answer="long " * 50) if n % 4 == 0 else row(n) for n in range(40)]
    gathered = gather(file_data(tmp_path / "d.jsonl", lines), seed=0)
    freeze(tmp_path / "data", gathered, Reader(tokenizer, "t" * 64, 64))
    manifest = open_frozen(tmp_path / "data", "t" * 64).manifest
    assert sum(manifest.too_long.values()) == 10
    assert sum(manifest.examples.values()) == 30


def test_examples_rendered_by_another_tokenizer_are_refused(tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    gathered = gather(file_data(tmp_path / "d.jsonl", [row(n) for n in range(40)]), seed=0)
    freeze(tmp_path / "data", gathered, Reader(tokenizer, "t" * 64, 64))
    with pytest.raises(Conflict, match="start a new job"):
        open_frozen(tmp_path / "data", "u" * 64)


def test_noised_copies_change_the_question_and_keep_the_rest(tmp_path: Path) -> None:
    lines = [row(n, messages=[{"role": "user", "content": f"please tell me about number {n} now"}]) for n in range(60)]
    plain = gather(file_data(tmp_path / "d.jsonl", lines), seed=0)
    gathered = gather(file_data(tmp_path / "d.jsonl", lines, noised_copies=2), seed=0)
    count = len(plain.train)
    assert (gathered.train[:count], gathered.dev, gathered.eval) == (plain.train, plain.dev, plain.eval)
    assert len(gathered.train) == 3 * count
    for copy in (1, 2):
        originals = zip(plain.train, gathered.train[copy * count : (copy + 1) * count], strict=True)
        changed = [one.messages != two.messages for one, two in originals]
        assert 0.6 * count < sum(changed)
    assert all(example.messages[-1].content for example in gathered.train)
    assert Counter(example.answer for example in gathered.train) == {example.answer: 3 for example in plain.train}
    assert gathered == gather(file_data(tmp_path / "d.jsonl", lines, noised_copies=2), seed=0)


def test_scenes_are_not_noised() -> None:
    with pytest.raises(InvalidInput, match="noised_copies to 0"):
        gather(corpus("babyai", train_examples=4, noised_copies=1), seed=0)
