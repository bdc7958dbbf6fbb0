import gzip
import json
import random
from pathlib import Path

import pytest

from seodang.base.errors import InvalidInput
from seodang.corpora import DATA_DIR_SETTING, SOURCES, MissingData, UnknownSource, open_conversations, open_source
from seodang.corpora.cloze import cloze
from seodang.tasks import Role, assistant, robot, search

GENERATED = [name for name in SOURCES if name.split("-")[0] in ("home", "babyai", "grounded")]
PARSERS = {"home": assistant.parse, "babyai": robot.parse, "grounded": search.parse}


@pytest.fixture(autouse=True)
def data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(DATA_DIR_SETTING, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", GENERATED)
def test_generated_sources_need_no_data_and_repeat_exactly(name: str) -> None:
    first, again = (list(open_source(name, "train", seed=7, limit=40)) for _ in range(2))
    assert first == again
    assert first != list(open_source(name, "train", seed=8, limit=40))


@pytest.mark.parametrize("name", GENERATED)
def test_every_generated_answer_can_be_parsed(name: str) -> None:
    parse = PARSERS[name.split("-")[0]]
    assert all(parse(example.answer) is not None for example in open_source(name, "dev", limit=100))


@pytest.mark.parametrize("name", ["home-ko", "home-en"])
def test_no_home_template_is_in_both_splits(name: str) -> None:
    groups = [{example.group for example in open_source(name, split, limit=3_000)} for split in ("train", "dev")]
    assert groups[0].isdisjoint(groups[1])
    assert len(groups[1]) > 20


@pytest.mark.parametrize("language", ["ko", "en"])
def test_grounded_answers_are_supported_by_their_passages(language: str) -> None:
    for example in open_source(f"grounded-{language}", "train", limit=200):
        *passages, _ = example.messages[-1].content.split("\n")
        answer = search.parse(example.answer)
        if isinstance(answer, search.Grounded):
            assert search.supported(answer, tuple(passage.split("] ", 1)[1] for passage in passages))


@pytest.mark.parametrize("language", ["ko", "en"])
def test_questions_on_real_sentences_are_answered_by_the_word_they_leave_out(language: str) -> None:
    paragraph = {
        "ko": "이 함수는 목록을 받아 새로운 사전을 돌려줍니다. 오류가 나면 예외를 일으킵니다.",
        "en": "This function takes a list and returns another dictionary. It raises ValueError when nothing fits.",
    }[language]
    found = [cloze(paragraph, language, random.Random(seed)) for seed in range(30)]
    asked = [each for each in found if each is not None]
    assert len({each.answer for each in asked}) > 2
    for each in asked:
        assert each.answer in each.sentence
        assert each.sentence in paragraph
        assert ("무엇" if language == "ko" else "what") in each.question


def test_no_grounded_answer_is_asked_for_where_a_passage_tells_it() -> None:
    nothing = [
        example for example in open_source("grounded-ko", "train", limit=300) if example.answer == search.NO_ANSWER
    ]
    assert 30 < len(nothing) < 100


def test_a_missing_file_names_itself_and_the_setting() -> None:
    with pytest.raises(MissingData, match=rf"clinc150\.jsonl\.gz.*{DATA_DIR_SETTING}"):
        next(open_source("clinc150"))


def test_published_rows_become_tool_calls_of_their_split(data_folder: Path) -> None:
    rows = [
        {"split": "train", "text": "wire money", "intent": "transfer"},
        {"split": "val", "text": "send money", "intent": "transfer"},
        {"split": "oos_val", "text": "sing", "intent": "oos"},
    ]
    with gzip.open(data_folder / "clinc150.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    assert [example.answer for example in open_source("clinc150", "train")] == ['{"name":"transfer","arguments":{}}']
    assert [example.group for example in open_source("clinc150", "dev")] == ["transfer", "oos"]


def test_wrong_names_splits_and_limits_are_refused() -> None:
    with pytest.raises(UnknownSource, match="choose from"):
        open_source("kobest")
    with pytest.raises(InvalidInput):
        open_source("home-ko", "test")
    with pytest.raises(InvalidInput):
        open_source("home-ko", limit=-1)


@pytest.mark.parametrize("name", ["babyai-ko", "grounded-en"])
def test_a_conversation_asks_further_things_about_its_beginning(name: str) -> None:
    (example,) = open_conversations(name, turns=3, seed=5, limit=1)
    roles = [message.role for message in example.messages]
    assert roles[:2] == [Role.SYSTEM, Role.USER]
    assert roles[2:] == [Role.ASSISTANT, Role.USER] * ((len(roles) - 2) // 2)
    assert len(roles) > 2
    assert "\n" in example.messages[1].content
    assert all("\n" not in message.content for message in example.messages[3::2])


def test_a_source_without_conversations_says_so() -> None:
    with pytest.raises(UnknownSource, match="has no conversations"):
        open_conversations("songys", turns=2)
