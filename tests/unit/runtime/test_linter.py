import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.tiny_engines import reference
from transformers import AutoModelForCausalLM

from seodang.base.errors import AlreadyExists
from seodang.runtime.lint_command import main
from seodang.runtime.linter import lint
from seodang.runtime.repair import repair


@pytest.fixture
def folder(axk1_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(axk1_folder, tmp_path / "copy"))


def codes(folder: Path) -> set[str]:
    return {finding.code for finding in lint(folder)}


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_transformers_saves_lacks_what_vllm_reads(folder: Path) -> None:
    assert codes(folder) == {"dense-norm", "first-k-dense", "rope-theta"}


def test_a_repaired_copy_has_no_finding_and_computes_the_same(folder: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    repair(folder, tmp_path / "fixed", lint(folder))
    assert lint(tmp_path / "fixed") == []
    config = json.loads((tmp_path / "fixed" / "config.json").read_text())
    assert (config["first_k_dense_replace"], config["rope_theta"]) == (1, 10000.0)
    tokens = torch.arange(7, 30)[None]
    with torch.inference_mode():
        expected = reference(folder)(tokens).logits
        assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path / "fixed").eval()(tokens).logits, expected)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_copy_is_never_written_over_something(folder: Path) -> None:
    with pytest.raises(AlreadyExists):
        repair(folder, folder, lint(folder))


@pytest.mark.parametrize(
    ("file", "changes", "code"),
    [
        ("config.json", {"architectures": None, "never_heard_of": 1}, "unreadable"),
        ("config.json", {"vocab_size": 300}, "tokenizer"),
        ("config.json", {"hidden_size": 32}, "weights"),
        ("config.json", {"auto_map": {}}, "remote-code"),
        ("generation_config.json", {"eos_token_id": [5]}, "end-tokens-differ"),
        ("model.safetensors.index.json", {"metadata": {"total_size": 1}}, "index-size"),
    ],
)
def test_faults_are_found(folder: Path, file: str, changes: dict[str, object], code: str) -> None:
    edit_json(folder / file, **changes)
    assert code in codes(folder)


def test_a_pickle_beside_the_shards_is_found(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"\x80")
    assert "pickle" in codes(folder)


def test_a_missing_chat_template_is_found(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert "chat-template" in codes(folder)


def test_missing_router_biases_are_found_and_filled_with_zeros(folder: Path, tmp_path: Path) -> None:
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    edit_json(index, weight_map={name: file for name, file in weight_map.items() if "e_score" not in name})
    assert "router-bias" in codes(folder)
    repair(folder, tmp_path / "fixed", lint(folder))
    assert "router-bias" not in codes(tmp_path / "fixed")


def test_the_command_tells_and_repairs(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 1
    assert "error: dense-norm (vLLM)" in capsys.readouterr().out
    assert main([str(folder), "--repair", str(tmp_path / "fixed")]) == 0
    assert "0 errors left" in capsys.readouterr().out
    assert main([str(folder), "--repair", str(tmp_path / "fixed")]) == 2
    assert main([str(tmp_path / "nowhere")]) == 1
