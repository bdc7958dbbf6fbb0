"""The checkpoint in models/teacher-mini as people get it: layout, tokenizer, and one real request for each job."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoTokenizer, AXK1ForCausalLM, PreTrainedTokenizerBase

from seodang.corpora.babyai import Episode, drive
from seodang.tasks import Message, assistant, messaging, robot, search

FOLDER = Path(__file__).parents[2] / "models" / "teacher-mini"
MAX_WEIGHT_BYTES = 24_000_000


class Teacher:
    """The checkpoint, loaded as a user would load it."""

    def __init__(self) -> None:
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(FOLDER)
        self.network = AXK1ForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()

    @torch.inference_mode()
    def answer(self, messages: list[Message]) -> str:
        prompt = self.tokenizer.apply_chat_template(
            [message.as_dict() for message in messages], add_generation_prompt=True, return_tensors="pt"
        )
        output = self.network.generate(**prompt, max_new_tokens=80)
        assert output[0, -1] == self.tokenizer.eos_token_id
        return str(self.tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher()


def test_the_weights_are_small_sharded_and_name_experts_one_by_one() -> None:
    shards = sorted(FOLDER.glob("*.safetensors"))
    index = json.loads((FOLDER / "model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
    assert len(shards) >= 3
    assert sum(shard.stat().st_size for shard in shards) <= MAX_WEIGHT_BYTES
    assert {shard.name for shard in shards} == set(index.values())
    assert "model.layers.1.mlp.experts.0.gate_proj.weight" in index
    for shard in shards:
        with safe_open(shard, "pt") as tensors:
            assert set(tensors.keys()) == {name for name, file in index.items() if file == shard.name}


@pytest.mark.parametrize(
    "text", ["안녕 wörld 🙂 12.5%\n\t  end ", "가나다\x00\x7f", " ", "漢字 — ‘quoted’", "0123456789"]
)
def test_the_tokenizer_gives_back_any_text(text: str) -> None:
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_digits_are_tokens_of_their_own() -> None:
    assert Tokenizer.from_file(str(FOLDER / "tokenizer.json")).encode("2024").tokens == list("2024")


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("거실 불 켜줘", assistant.ToolCall("HassTurnOn", {"area": "거실", "domain": "light"})),
        ("turn off the kitchen lights", assistant.ToolCall("HassTurnOff", {"area": "kitchen", "domain": "light"})),
    ],
)
def test_it_turns_a_request_into_a_tool_call(teacher: Teacher, text: str, call: assistant.ToolCall) -> None:
    answer = teacher.answer(assistant.messages(assistant.AssistantRequest(text)))
    assert assistant.score(answer, assistant.render(call))["exact"] == 1.0


def test_it_names_the_intent_of_a_request(teacher: Teacher) -> None:
    request = assistant.AssistantRequest("please set an alarm for seven in the morning", assistant.CLINC150)
    assert assistant.parse(teacher.answer(assistant.messages(request))).name == "alarm"


def test_it_replies_in_korean(teacher: Teacher) -> None:
    reply = messaging.parse(teacher.answer(messaging.messages(messaging.MessagingRequest("여행 가고 싶다"))))
    assert any("가" <= character <= "힣" for character in reply.text)


def test_it_answers_from_the_right_passage_and_quotes_it(teacher: Teacher) -> None:
    passages = (
        "새솔 카페의 입장료는 3,000원이다. 새솔 카페는 매주 월요일에 쉰다.",
        "한빛 도서관은 1998년에 문을 열었다. 한빛 도서관은 오후 9시까지 운영한다.",
    )
    request = search.SearchRequest("한빛 도서관은 언제 문을 열었나요?", passages)
    answer = search.parse(teacher.answer(search.messages(request)))
    assert isinstance(answer, search.Grounded)
    assert search.supported(answer, passages)
    assert (answer.text, answer.citation) == ("1998년", 2)


def test_it_drives_the_robot_to_its_goal(teacher: Teacher) -> None:
    def policy(requests: list[robot.RobotRequest]) -> list[robot.Action]:
        return [robot.parse(teacher.answer(robot.messages(request))) for request in requests]

    assert "go to" in Episode("GoToLocal", 2, "en").mission
    assert drive("GoToLocal", [2], policy, "en").successes == 1


def test_the_card_says_what_was_measured() -> None:
    scores = json.loads((FOLDER / "scores.json").read_text(encoding="utf-8"))
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"| CLINC150 intent, in scope | {scores['clinc150']['name']:.3f} |" in card
    assert f"| BabyAI PickupLoc success, Korean | {scores['PickupLoc-ko']['success']:.3f} |" in card
