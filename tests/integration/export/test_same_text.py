"""An exported student reads and ends texts as it does here, and where llama.cpp cannot, that is known beforehand."""

import json
from itertools import islice
from pathlib import Path

import pytest
from tests.llamacpp import LlamaCpp
from tests.tiny_checkpoints import VOCAB_SIZE, build
from tests.tiny_engines import complete, completion_of, engine_of
from transformers import AutoConfig

from seodang.corpora.files import MissingData
from seodang.distillation.data import gather
from seodang.distillation.spec import CorpusSource, Data
from seodang.runtime.export import Export, Weights
from seodang.runtime.export.likeness import LlamaCppTokenizer
from seodang.runtime.export.probes import probes
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import ChatMessage, ChatPrompt, TextPrompt

CORPORA = ("assistant", "songys", "grounded", "babyai")


@pytest.fixture(scope="module")
def tokenizer(student: Path) -> Tokenizer:
    return Tokenizer(student, AutoConfig.from_pretrained(student, local_files_only=True))


@pytest.fixture(scope="module")
def conversations() -> list[ChatPrompt]:
    """Several hundred of what the bundled students are asked, Korean and English."""
    found = []
    for name in CORPORA:
        try:
            examples = gather(Data(source=CorpusSource(name=name), train_examples=40, eval_examples=100), seed=5).eval
        except MissingData:  # files that not everybody has
            continue
        turns = [[ChatMessage(each.role.value, each.content) for each in example.messages] for example in examples]
        found += [ChatPrompt(messages=tuple(each)) for each in turns]
    return found


def test_conversations_have_the_same_tokens(
    tokenizer: Tokenizer, student_gguf: LlamaCpp, conversations: list[ChatPrompt]
) -> None:
    assert len(conversations) >= 200
    for prompt in conversations:
        assert student_gguf.tokenize(tokenizer.render(prompt)) == tokenizer.encode(prompt)


def test_plain_texts_have_the_same_tokens(
    tokenizer: Tokenizer, student_gguf: LlamaCpp, conversations: list[ChatPrompt]
) -> None:
    for prompt in conversations:
        text = prompt.messages[-1].content
        expected = tokenizer.encode(TextPrompt(text))
        assert student_gguf.tokenize(text, add_special=True) == expected
        assert student_gguf.detokenize(expected) == text


def test_what_the_export_foretells_is_what_llama_cpp_does(
    student: Path, student_export: Export, student_gguf: LlamaCpp
) -> None:
    spec = json.loads((student / "tokenizer.json").read_text(encoding="utf-8"))
    likeness = student_export.vocabulary.likeness
    names = spec["model"]["vocab"]
    blanks = {text: names[text.replace(" ", "Ġ").replace("\n", "Ċ")] for text in likeness.blanks}
    whole = {entry["content"]: entry["id"] for entry in spec["added_tokens"]} | blanks
    texts = list(dict.fromkeys(islice(probes(["불 켜 줘", "TV를", "PickupLoc", "don'tell", "\n  - one"]), 0, None, 3)))
    foretold = LlamaCppTokenizer(spec, likeness.pre_tokenizer, whole).encode(texts)
    for text, ids in zip(texts, foretold, strict=True):
        assert student_gguf.tokenize(text) == list(ids), repr(text)


def test_only_a_single_blank_after_other_white_space_is_read_differently(student_export: Export) -> None:
    likeness = student_export.vocabulary.likeness
    assert 0 < likeness.differing < 0.05 * likeness.probed
    for difference in likeness.differences:
        before, _, _ = difference.text.rpartition(" ")
        assert before[-1].isspace()


def test_a_chat_is_rendered_and_ended_as_here(student: Path, tokenizer: Tokenizer, student_gguf: LlamaCpp) -> None:
    engine = engine_of(student)
    for question in ("오늘 너무 피곤해", "고마워!"):
        prompt = ChatPrompt(messages=(ChatMessage("system", "chat: ko"), ChatMessage("user", question)))
        ids = tuple(tokenizer.encode(prompt))
        ours = complete(engine, completion_of(question, ids, 48, ignore_eos=False))[question]
        messages = [{"role": each.role, "content": each.content} for each in prompt.messages]
        assert student_gguf.chat(messages, 48) == tokenizer.decode(ours, skip_special_tokens=True) != ""


def test_a_pattern_that_llama_cpp_has_is_found_and_exact(tmp_path: Path) -> None:
    folder = build(tmp_path / "model", "qwen3")
    export = Export(folder)
    likeness = export.vocabulary.likeness
    assert (likeness.differing, likeness.pre_tokenizer.name, likeness.blanks) == (0, "gpt-2", ())
    export.write(tmp_path / "m.gguf", Weights.F32, "tiny")
    tokenizer = Tokenizer(folder, AutoConfig.from_pretrained(folder))
    with LlamaCpp(tmp_path / "m.gguf", VOCAB_SIZE) as model:
        for text in islice(probes([]), 0, None, 5):
            assert model.tokenize(text, add_special=True) == tokenizer.encode(TextPrompt(text)), repr(text)
