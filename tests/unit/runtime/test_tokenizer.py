import json
import shutil
from pathlib import Path

import pytest
from tests.tiny_checkpoints import EOS, config_of

from seodang.base.errors import InvalidInput
from seodang.runtime.checkpoint import BadCheckpoint
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import ChatMessage, ChatPrompt, TextPrompt, TokenPrompt, ToolCall, ToolSchema


@pytest.fixture(scope="module")
def tokenizer(llama_folder: Path) -> Tokenizer:
    return Tokenizer(llama_folder, config_of("llama"))


@pytest.mark.parametrize("text", ["서당 훈장님", "naïve 🤖 text", "  spaces\n\ttabs", "<eos> spelled out"])
def test_pieces_of_a_text_join_to_the_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(TextPrompt(text=text, add_special_tokens=False))
    assert b"".join(map(tokenizer.piece, ids)).decode() == text


def test_control_tokens_are_no_text_unless_asked_for(tokenizer: Tokenizer) -> None:
    ids = (EOS, *tokenizer.encode(TextPrompt(text="글")))
    assert tokenizer.decode(ids, skip_special_tokens=True) == "글"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "<eos>글"


def test_a_conversation_is_rendered_by_the_checkpoints_template(tokenizer: Tokenizer) -> None:
    prompt = ChatPrompt(messages=(ChatMessage(role="user", content="안녕"),))
    assert tokenizer.render(prompt) == "<|user|>안녕<eos><|assistant|>"
    assert tokenizer.encode(prompt)[1:-2] == tokenizer.encode(TextPrompt(text="안녕"))


def test_tools_and_calls_reach_the_template(llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama_folder, tmp_path / "copy"))
    (folder / "chat_template.jinja").write_text(
        "{{ tools[0].function.parameters.type }}{{ messages[0].tool_calls[0].function.arguments.room }}{{ loud }}"
    )
    prompt = ChatPrompt(
        messages=(ChatMessage(role="assistant", tool_calls=(ToolCall(name="on", arguments='{"room": "거실"}'),)),),
        tools=(ToolSchema(name="on"),),
        template_args={"loud": True},
    )
    assert Tokenizer(folder, config_of("llama")).render(prompt) == "object거실True"


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (TextPrompt(text=""), "prompt"),
        (TokenPrompt(token_ids=()), "prompt"),
        (TokenPrompt(token_ids=(1, 320)), "prompt.token_ids"),
        (TokenPrompt(token_ids=(-1,)), "prompt.token_ids"),
        (ChatPrompt(messages=()), "prompt.messages"),
    ],
)
def test_prompts_that_cannot_work_are_refused(tokenizer: Tokenizer, prompt: TextPrompt, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tokenizer.encode(prompt)
    assert caught.value.field == field


def test_a_conversation_that_the_template_refuses_is_the_callers_fault(llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama_folder, tmp_path / "copy"))
    (folder / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(InvalidInput, match="roles must alternate"):
        Tokenizer(folder, config_of("llama")).render(ChatPrompt(messages=(ChatMessage(role="user"),)))


def test_a_model_without_a_template_says_so(llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama_folder, tmp_path / "copy"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InvalidInput, match="no chat template; send the prompt as text"):
        Tokenizer(folder, config_of("llama")).render(ChatPrompt(messages=(ChatMessage(role="user"),)))


def test_end_tokens_come_from_every_file_that_names_them(llama_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(llama_folder, tmp_path / "copy"))
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(generation | {"eos_token_id": [4, 5]}))
    assert Tokenizer(folder, config_of("llama")).eos_token_ids == (EOS, 4, 5)


def test_a_tokenizer_larger_than_the_model_is_refused(llama_folder: Path) -> None:
    with pytest.raises(BadCheckpoint, match="320 tokens, but the model's vocabulary is 300"):
        Tokenizer(llama_folder, config_of("llama", vocab_size=300))


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"tokenizer\.json is missing"):
        Tokenizer(tmp_path, config_of("llama"))
