"""A student as it is in the real vLLM. ``make test-vllm`` installs it and runs this; ``make test`` has none."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from benchmarks.serving import VLLM
from tests import vllm_greedy
from transformers import AutoModelForCausalLM

from seodang.distillation.spec import ConfigShape, DenseShape
from seodang.distillation.training import build_student

STUDENTS = Path("models/students")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
PROMPTS = [[0, 3, 284, 32, 760], [0, 3, 17, 4, 843, 1443, 2801, 4073, 1266, 5], list(range(100, 160))]
NEW_TOKENS = 24
INSTALL_LIMIT_S = 3600.0

pytestmark = [
    pytest.mark.timeout(4000),
    pytest.mark.skipif(not os.environ.get("SEODANG_TEST_VLLM"), reason="make test-vllm runs it in the real vLLM"),
]


@pytest.fixture(scope="module")
def vllm() -> Path:
    return VLLM.python(INSTALL_LIMIT_S)


def vllm_tokens(vllm: Path, folder: Path, tmp_path: Path, **overrides: int) -> list[list[int]]:
    request, answer = tmp_path / "request.json", tmp_path / "answer.json"
    wanted = {"folder": str(folder.absolute()), "prompts": PROMPTS, "new_tokens": NEW_TOKENS, "overrides": overrides}
    request.write_text(json.dumps(wanted))
    command = [str(vllm), vllm_greedy.__file__, str(request), str(answer)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    tokens: list[list[int]] = json.loads(answer.read_text())
    return tokens


def our_tokens(folder: Path) -> list[list[int]]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    answers = []
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        for _ in range(NEW_TOKENS):
            with torch.no_grad():
                ids = torch.cat([ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
        answers.append(ids[0, len(prompt) :].tolist())
    return answers


QWEN3 = ConfigShape(
    config_json='{"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,'
    '"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 256,'
    '"tie_word_embeddings": true}'
)
LFM2 = DenseShape(hidden_size=64, layers=4, heads=2, kv_heads=1, intermediate_size=128)


@pytest.fixture
def new_student(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The folder that a job of this shape leaves, with weights as they begin."""
    files = tmp_path / "tokenizer"
    files.mkdir()
    for name in TOKENIZER:
        (files / name).write_bytes((STUDENTS / "assistant" / name).read_bytes())
    student = build_student(request.param, vocabulary_size=4096, end_id=1, context_tokens=256, seed=3)
    student.save(tmp_path / "student", files)
    return tmp_path / "student"


@pytest.mark.parametrize("new_student", [QWEN3, LFM2], indirect=True, ids=["qwen3", "lfm2"])
def test_a_new_student_says_the_same(vllm: Path, new_student: Path, tmp_path: Path) -> None:
    assert vllm_tokens(vllm, new_student, tmp_path) == our_tokens(new_student)


@pytest.mark.parametrize("name", ["assistant", "messaging", "robot", "search"])
def test_a_bundled_student_loads(vllm: Path, tmp_path: Path, name: str) -> None:
    """What it says is not compared: for one prefix in two requests, vLLM 0.32 on a CPU gives LFM2 two distributions."""
    folder = STUDENTS / name
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    # They are signed as they were made, before their config repeated its width for vLLM.
    answers = vllm_tokens(vllm, folder, tmp_path, block_dim=width, conv_dim=width)
    assert [len(answer) for answer in answers] == [NEW_TOKENS] * len(PROMPTS)
