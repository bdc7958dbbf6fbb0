"""Faults of a checkpoint folder are refused with file, tensor and remedy named."""

import json
import shutil
import struct
from pathlib import Path

import pytest
from tests import tiny_checkpoints

from seodang.base.errors import NotFound
from seodang.runtime.architecture import read_config
from seodang.runtime.checkpoint import BadCheckpoint, Checkpoint
from seodang.runtime.skeleton import skeleton
from seodang.runtime.weight_map import map_weights


@pytest.fixture
def folder(axk1_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(axk1_folder, tmp_path / "copy"))


def fully_checked(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    config = read_config(checkpoint)
    import torch

    map_weights(checkpoint, skeleton(config, torch.float32))


def edit_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


def rewrite_header(path: Path, tensor: str, **changes: object) -> None:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header[tensor] |= changes
    body = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(body)) + body + data[8 + length :])


def shard_of(folder: Path, tensor: str) -> Path:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return folder / index["weight_map"][tensor]


def test_a_sound_checkpoint_passes(folder: Path) -> None:
    fully_checked(folder)


def test_a_folder_that_does_not_exist_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no checkpoint folder"):
        Checkpoint.open(tmp_path / "nowhere")


def test_a_missing_shard_is_named(folder: Path) -> None:
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(BadCheckpoint, match=r"is missing.*download it again") as caught:
        Checkpoint.open(folder)
    assert caught.value.metadata["file"] == str(shard)
    assert caught.value.metadata["tensor"]


def test_a_truncated_shard_is_named_with_its_sizes(folder: Path) -> None:
    shard = sorted(folder.glob("*.safetensors"))[0]
    data = shard.read_bytes()
    shard.write_bytes(data[:-100])
    with pytest.raises(BadCheckpoint, match=f"truncated: its header needs {len(data)} bytes, the file has"):
        Checkpoint.open(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"PK\x03\x04 not safetensors at all", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_refused(folder: Path, content: bytes) -> None:
    sorted(folder.glob("*.safetensors"))[0].write_bytes(content)
    with pytest.raises(BadCheckpoint, match="no safetensors file"):
        Checkpoint.open(folder)


def test_a_tensor_of_the_wrong_shape_is_named(folder: Path) -> None:
    tensor = "model.layers.1.self_attn.o_proj.weight"
    rewrite_header(shard_of(folder, tensor), tensor, shape=[32, 128])
    with pytest.raises(BadCheckpoint, match=r"has shape \[32, 128\].*\[64, 64\]") as caught:
        fully_checked(folder)
    assert caught.value.metadata["tensor"] == tensor


def test_an_expert_of_the_wrong_shape_is_named(folder: Path) -> None:
    tensor = "model.layers.1.mlp.experts.3.down_proj.weight"
    rewrite_header(shard_of(folder, tensor), tensor, shape=[128, 16])
    with pytest.raises(BadCheckpoint, match=r"experts\.3\.down_proj"):
        fully_checked(folder)


def test_a_tensor_that_no_shard_holds_is_named(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    del weight_map["model.norm.weight"]
    edit_json(index, weight_map=weight_map)
    with pytest.raises(BadCheckpoint, match=r"lacks model\.norm\.weight"):
        fully_checked(folder)


def test_a_missing_expert_is_noticed(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    del weight_map["model.layers.1.mlp.experts.7.up_proj.weight"]
    edit_json(index, weight_map=weight_map)
    with pytest.raises(BadCheckpoint, match=r"mlp\.experts\.gate_up_proj.*experts are missing"):
        fully_checked(folder)


def test_an_index_that_names_a_tensor_its_shard_lacks_is_refused(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    edit_json(index, weight_map=weight_map | {"model.layers.9.bogus": next(iter(weight_map.values()))})
    with pytest.raises(BadCheckpoint, match=r"lacks model\.layers\.9\.bogus"):
        Checkpoint.open(folder)


def test_an_index_that_points_outside_the_folder_is_refused(folder: Path) -> None:
    edit_json(folder / "model.safetensors.index.json", weight_map={"a": "../secret.safetensors"})
    with pytest.raises(BadCheckpoint, match="outside the folder"):
        Checkpoint.open(folder)


def test_a_tensor_that_belongs_nowhere_is_refused(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=2, mlp_layer_types=["dense", "sparse"])
    with pytest.raises(BadCheckpoint, match=r"model\.layers\.2\..* belongs to no part of AXK1ForCausalLM"):
        fully_checked(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickle_files_are_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(BadCheckpoint, match=r"pickle file.*safe_serialization=True"):
        Checkpoint.open(tmp_path)


def test_an_unknown_config_field_is_refused_by_name(folder: Path) -> None:
    edit_json(folder / "config.json", sparse_indexer_top_k=2048)
    with pytest.raises(BadCheckpoint, match="unknown field sparse_indexer_top_k"):
        read_config(Checkpoint.open(folder))


def test_an_unknown_config_field_can_be_waved_through(folder: Path) -> None:
    edit_json(folder / "config.json", sparse_indexer_top_k=2048)
    read_config(Checkpoint.open(folder), ignored_fields=("sparse_indexer_top_k",))


def test_the_fields_of_lfm2s_makers_are_read(tmp_path: Path) -> None:
    folder = tiny_checkpoints.build(tmp_path, "lfm2")
    own = json.loads((folder / "config.json").read_text())
    fields: dict[str, object] = dict.fromkeys(("block_dim", "conv_dim", "conv_dim_out"), own["hidden_size"])
    fields |= dict.fromkeys(("block_use_swiglu", "use_pos_enc", "block_use_xavier_init", "conv_use_xavier_init"), True)
    fields |= dict.fromkeys(("block_mlp_init_scale", "block_out_init_scale"), 1.0)
    fields |= {"num_heads": own["num_attention_heads"], "block_norm_eps": own["norm_eps"]}
    edit_json(folder / "config.json", block_ff_dim=96, tie_embedding=True, **fields)
    config = read_config(Checkpoint.open(folder))
    assert config.intermediate_size == 96


@pytest.mark.parametrize(("field", "value"), [("conv_dim", 128), ("num_heads", 7), ("block_use_swiglu", False)])
def test_another_lfm2_than_ours_is_refused(tmp_path: Path, field: str, value: object) -> None:
    folder = tiny_checkpoints.build(tmp_path, "lfm2")
    edit_json(folder / "config.json", **{field: value})
    with pytest.raises(BadCheckpoint, match=f"{field}={json.dumps(value)} is not implemented"):
        read_config(Checkpoint.open(folder))


def test_a_router_that_is_not_implemented_is_refused(folder: Path) -> None:
    edit_json(folder / "config.json", scoring_func="softmax")
    with pytest.raises(BadCheckpoint, match='scoring_func="softmax" is not implemented, only "sigmoid"'):
        read_config(Checkpoint.open(folder))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "never_heard_of"}, "unknown to this transformers"),
        ({"model_type": "vit"}, "no causal language model"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised weights are not supported"),
        ({"hidden_size": "wide"}, "hidden_size"),
    ],
)
def test_a_config_that_cannot_work_is_refused(folder: Path, changes: dict[str, object], reason: str) -> None:
    edit_json(folder / "config.json", **changes)
    with pytest.raises(BadCheckpoint, match=reason):
        read_config(Checkpoint.open(folder))


@pytest.mark.parametrize("content", ["", "[1, 2]", "{'single': 'quotes'}", "\x00"])
def test_a_config_that_is_no_json_object_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        Checkpoint.open(folder)
