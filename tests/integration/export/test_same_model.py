"""An exported student is the same model: transformers and llama.cpp compute what our runtime computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader
from safetensors.torch import load_file
from tests.llamacpp import Generated, LlamaCpp
from tests.tiny_checkpoints import VOCAB_SIZE, build
from tests.tiny_engines import complete, completion_of, drain, engine_of, prompt_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from seodang.runtime.export import Export, Weights
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import ChatMessage, ChatPrompt, Score, ScoreChunk, TokenPrompt

QUESTIONS = ("여자친구 만나고왔어", "오늘 너무 피곤해", "내일 시험이라 걱정이야", "고마워!", "주말에 뭐 하지?")
MODELS: dict[str, dict[str, Any]] = {
    "llama": {"family": "llama"},
    "llama, tied, heads of 24": {"family": "llama", "tie_word_embeddings": True, "head_dim": 24},
    "llama, more rows than tokens": {"family": "llama", "vocab_size": VOCAB_SIZE + 64},
    "llama, stretched as Llama 3": {
        "family": "llama",
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "llama, stretched evenly": {
        "family": "llama",
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    },
    "qwen3, tied": {"family": "qwen3"},
    "qwen3": {"family": "qwen3", "tie_word_embeddings": False, "hidden_size": 96},
    "lfm2, tied": {"family": "lfm2"},
    "lfm2, a head of its own": {"family": "lfm2", "tie_word_embeddings": False},
}


def asked(folder: Path, question: str) -> tuple[int, ...]:
    """Ids of a chat prompt, by our runtime."""
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    prompt = ChatPrompt(messages=(ChatMessage("system", "chat: ko"), ChatMessage("user", question)))
    return tuple(Tokenizer(folder, model.config).encode(prompt))


def our_log_probs(folder: Path, prompt: tuple[int, ...], vocabulary: int) -> np.ndarray:
    """[T, V] by our runtime in float32."""
    engine = engine_of(folder)
    command = Score(request_id="s", model_id="tiny", prompt=TokenPrompt(token_ids=prompt), top_k=vocabulary)
    engine.score(command, credits_=100)
    chunks = [event for event in drain(engine) if isinstance(event, ScoreChunk)]
    ids = np.concatenate([chunk.top_ids.to_numpy() for chunk in chunks if chunk.top_ids])
    values = np.concatenate([chunk.top_logprobs.to_numpy() for chunk in chunks if chunk.top_logprobs])
    ordered = np.empty_like(values)
    np.put_along_axis(ordered, ids.astype(np.int64), values, axis=1)
    return ordered


def our_steps(folder: Path, prompt: tuple[int, ...], theirs: Generated, vocabulary: int) -> np.ndarray:
    """[K, V] by our runtime, where llama.cpp told what it chose from."""
    read = (*prompt, *theirs.tokens)
    return our_log_probs(folder, read, vocabulary)[len(prompt) - 1 + np.array(theirs.steps_K)]


def test_transformers_loads_a_bundled_student_and_computes_what_our_runtime_does(student: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(student, local_files_only=True, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(student, local_files_only=True)
    messages = [{"role": "system", "content": "chat: ko"}, {"role": "user", "content": QUESTIONS[0]}]
    prompt = tuple(tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"])
    assert prompt == asked(student, QUESTIONS[0])
    with torch.inference_mode():
        theirs = model(torch.tensor([prompt])).logits[0].log_softmax(-1).numpy()
    np.testing.assert_allclose(theirs, our_log_probs(student, prompt, model.config.vocab_size), atol=1e-4)


def test_llama_cpp_answers_as_a_bundled_student_does_here(student: Path, student_gguf: LlamaCpp) -> None:
    engine = engine_of(student)
    for question in QUESTIONS:
        prompt = asked(student, question)
        answer = complete(engine, completion_of(question, prompt, 48, ignore_eos=False))[question]
        theirs = student_gguf.generate(prompt, 48)
        assert theirs.tokens == [token for token in answer if token not in engine.tokenizer.eos_token_ids] != []
        assert theirs.ended
        ours = our_steps(student, prompt, theirs, student_gguf.vocab_size)
        np.testing.assert_allclose(theirs.log_probs_KV, ours, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_every_family_and_shape(name: str, tmp_path: Path) -> None:
    folder = build(tmp_path / "model", **MODELS[name])
    Export(folder).write(tmp_path / "model.gguf", Weights.F32, "tiny")
    prompt = prompt_of(90)
    engine = engine_of(folder)
    answer = complete(engine, completion_of("c", prompt, 24, ignore_eos=False))["c"]
    vocabulary = MODELS[name].get("vocab_size", VOCAB_SIZE)
    with LlamaCpp(tmp_path / "model.gguf", vocabulary) as model:
        theirs = model.generate(prompt, 24)
    assert theirs.tokens == [token for token in answer if token not in engine.tokenizer.eos_token_ids] != []
    ours = our_steps(folder, prompt, theirs, vocabulary)
    np.testing.assert_allclose(theirs.log_probs_KV, ours, atol=2e-3)


@pytest.mark.parametrize(("weights", "most_kl"), [(Weights.BF16, 2e-4), (Weights.F16, 1e-4), (Weights.Q8_0, 1e-3)])
def test_rounded_weights_stay_near(
    weights: Weights, most_kl: float, student: Path, student_export: Export, tmp_path: Path
) -> None:
    done = student_export.write(tmp_path / "m.gguf", weights, "student")
    assert done.weights is weights
    with LlamaCpp(done.path, len(student_export.vocabulary.tokens)) as model:
        for question in QUESTIONS:
            prompt = asked(student, question)
            theirs = model.generate(prompt, 48)
            ours = our_steps(student, prompt, theirs, model.vocab_size)
            kl = (np.exp(ours) * (ours - theirs.log_probs_KV)).sum(-1).mean()
            assert abs(kl) < most_kl


def test_bfloat16_is_kept_bit_by_bit(student: Path, student_export: Export, tmp_path: Path) -> None:
    student_export.write(tmp_path / "m.gguf", None, "student")
    stored = load_file(student / "model.safetensors")
    found = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    assert "output.weight" not in found  # tied
    for source, name in (
        ("model.embed_tokens", "token_embd"),
        ("model.layers.1.self_attn.v_proj", "blk.1.attn_v"),
        ("model.layers.2.feed_forward.w2", "blk.2.ffn_down"),
        ("model.layers.2.conv.in_proj", "blk.2.shortconv.in_proj"),
    ):
        tensor, values = found[f"{name}.weight"], stored[f"{source}.weight"]
        assert tensor.tensor_type is GGMLQuantizationType.BF16
        np.testing.assert_array_equal(tensor.data.view(np.uint16), values.view(torch.uint16).numpy())
