"""A student as it is in the real vLLM. ``make test-vllm`` installs it and runs this; ``make test`` has none."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from benchmarks.serving import BENCH, VLLM
from tests import vllm_greedy
from transformers import AutoModelForCausalLM

from seodang.distillation.spec import DenseShape
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
    BENCH.mkdir(parents=True, exist_ok=True)
    return VLLM.python(BENCH, INSTALL_LIMIT_S)


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


def test_a_new_student_is_the_same_model(vllm: Path, tmp_path: Path) -> None:
    files = tmp_path / "tokenizer"
    files.mkdir()
    for name in TOKENIZER:
        (files / name).write_bytes((STUDENTS / "assistant" / name).read_bytes())
    shape = DenseShape(hidden_size=64, layers=4, heads=2, kv_heads=1, intermediate_size=128)
    student = build_student(shape, vocabulary_size=4096, end_id=1, context_tokens=256, seed=3)
    student.save(tmp_path / "student", files)
    assert vllm_tokens(vllm, tmp_path / "student", tmp_path) == our_tokens(tmp_path / "student")


@pytest.mark.parametrize("name", ["assistant", "messaging", "robot", "search"])
def test_a_bundled_student_is_the_same_model(vllm: Path, tmp_path: Path, name: str) -> None:
    folder = STUDENTS / name
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    # They are signed as they were made, before their config repeated its width for vLLM.
    assert vllm_tokens(vllm, folder, tmp_path, block_dim=width, conv_dim=width) == our_tokens(folder)
