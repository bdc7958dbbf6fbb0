"""What cannot leave as GGUF is refused with the reason and the remedy; what was refused leaves no file."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny_checkpoints import build

from seodang.base.errors import AlreadyExists, Unsupported
from seodang.runtime.checkpoint import BadCheckpoint
from seodang.runtime.export import Export, Weights
from seodang.runtime.export_command import main


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_command_refuses_a_tokenizer_that_llama_cpp_lacks_unless_told_otherwise(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "student.gguf"
    command = [str(student), "--format", "gguf", "--out", str(out)]
    assert main(command) == 2
    refused = capsys.readouterr().err
    assert "probe texts in another way" in refused
    assert "--accept-differences" in refused
    assert r"'\n a': \n|␣|a here, \n|␣a in llama.cpp" in refused
    assert not out.exists()
    assert main([*command, "--accept-differences"]) == 0
    accepted = capsys.readouterr()
    assert "WARNING" in accepted.err
    assert "lfm2, bf16" in accepted.out
    assert out.exists()


def test_the_command_copies_a_transformers_folder_with_its_signature(tmp_path: Path) -> None:
    folder = build(tmp_path / "model", "axk1")
    (folder / "model.sig").write_text("signature")
    command = [sys.executable, "-m", "seodang.cli", "export", str(folder), "--format", "transformers"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "copy")], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "AXK1ForCausalLM" in done.stdout
    for path in folder.iterdir():
        assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()


def test_a_family_without_a_gguf_form_is_named_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"type axk1 .* only llama, qwen3, lfm2\. Export it as --format transformers"):
        Export(build(tmp_path / "model", "axk1"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"attention_bias": True}, "attention_bias=True"),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}},
            "rope_type='yarn'",
        ),
    ],
)
def test_a_computation_that_the_family_lacks_there_is_refused(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match=told):
        Export(build(tmp_path / "model", "llama", **changes))


def test_weights_of_another_config_are_refused(tmp_path: Path) -> None:
    folder = build(tmp_path / "model", "llama")
    edit(folder / "config.json", lambda config: config.update(num_key_value_heads=4))
    with pytest.raises(BadCheckpoint, match=r"k_proj.weight is \[32, 64\], config.json needs \[64, 64\]"):
        Export(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda spec: spec["model"].update(byte_fallback=True), "only byte-level BPE"),
        (lambda spec: spec["added_tokens"][3].update(lstrip=True), "has lstrip"),
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(
    change: Callable[[dict[str, Any]], object], told: str, tmp_path: Path
) -> None:
    folder = build(tmp_path / "model", "llama")
    edit(folder / "tokenizer.json", change)
    with pytest.raises(Unsupported, match=told):
        Export(folder)


def test_a_weight_beyond_float16_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    folder = build(tmp_path / "model", "llama", shard_size="1GB")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    export = Export(folder)
    with pytest.raises(Unsupported, match="beyond float16"):
        export.write(tmp_path / "m.gguf", Weights.F16, "tiny")
    assert not list(tmp_path.glob("*m.gguf*"))
    assert export.write(tmp_path / "m.gguf", Weights.BF16, "tiny").weights is Weights.BF16
    assert weights["model.norm.weight"].dtype is torch.float32


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    export = Export(build(tmp_path / "model", "llama"))
    (tmp_path / "m.gguf").write_text("mine")
    with pytest.raises(AlreadyExists):
        export.write(tmp_path / "m.gguf", None, "tiny")
    assert (tmp_path / "m.gguf").read_text() == "mine"
