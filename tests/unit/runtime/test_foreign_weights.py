"""Weights arrive bit for bit, and no byte is read that the rank does not need."""

from pathlib import Path

import pytest
import torch
from tests.tiny_checkpoints import build
from tests.tiny_engines import reference

from seodang.runtime.architecture import read_config
from seodang.runtime.checkpoint import Checkpoint
from seodang.runtime.foreign_weights import load_weights
from seodang.runtime.reading import runs
from seodang.runtime.skeleton import skeleton
from seodang.runtime.weight_map import map_weights

FAMILIES = ("axk1", "llama", "qwen3", "qwen3_moe")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loaded_model_equals_what_transformers_loads(family: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(build(tmp_path, family))
    model = skeleton(read_config(checkpoint), torch.float32)
    load_weights(model, map_weights(checkpoint, model), torch.device("cpu"), lambda *_: None)
    expected = reference(tmp_path)
    assert model.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    tokens = torch.arange(7, 40)[None]
    with torch.inference_mode():
        assert torch.equal(model(tokens).logits, expected(tokens).logits)


def test_every_byte_is_read_once_and_progress_ends_at_the_total(axk1_folder: Path) -> None:
    checkpoint = Checkpoint.open(axk1_folder)
    model = skeleton(read_config(checkpoint), torch.float32)
    reports: list[tuple[int, int, float]] = []
    meter = load_weights(
        model, map_weights(checkpoint, model), torch.device("cpu"), lambda *report: reports.append(report)
    )
    stored = sum(entry.end - entry.begin for entry in checkpoint.tensors.values())
    assert meter.bytes_read == meter.bytes_total == stored
    assert reports[-1][:2] == (stored, stored)
    assert [report[0] for report in reports] == sorted(report[0] for report in reports)


def test_bfloat16_keeps_the_router_in_float32(axk1_folder: Path) -> None:
    checkpoint = Checkpoint.open(axk1_folder)
    model = skeleton(read_config(checkpoint), torch.bfloat16)
    load_weights(model, map_weights(checkpoint, model), torch.device("cpu"), lambda *_: None)
    dtypes = {name: tensor.dtype for name, tensor in model.named_parameters()}
    assert dtypes["model.layers.1.mlp.gate.weight"] == torch.float32
    assert dtypes["model.layers.1.mlp.experts.down_proj"] == torch.bfloat16


def test_a_box_is_read_in_as_few_runs_as_its_layout_allows() -> None:
    assert list(runs((4, 6), ((1, 3), (0, 6)), 4)) == [(24, 48)]
    assert list(runs((4, 6), ((1, 3), (2, 5)), 4)) == [(32, 12), (56, 12)]
    assert list(runs((2, 3, 4), ((0, 2), (1, 2), (0, 4)), 1)) == [(4, 4), (16, 4)]
    assert list(runs((), (), 4)) == [(0, 4)]
