"""The planner on the true shape of A.X K1, whose totals are published, and on checkpoints that we can weigh."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tiny_checkpoints import build, config_of
from tests.tiny_engines import engine_of

from seodang.base.errors import Unsupported
from seodang.runtime.architecture import read_config
from seodang.runtime.checkpoint import Checkpoint
from seodang.runtime.loading import load_engine
from seodang.runtime.plan_command import main, parse_bytes
from seodang.runtime.planner import Demand, layouts, plan, recommend
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import DType, Layout, LoadOptions

TRUE_SHAPE = {
    "model_type": "axk1",
    "architectures": ["AXK1ForCausalLM"],
    "vocab_size": 163840,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 64,
    "num_key_value_heads": 64,
    "n_shared_experts": 1,
    "n_routed_experts": 192,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "n_group": 8,
    "topk_group": 4,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 131072,
}
H200 = Demand(memory_bytes=parse_bytes("141GiB"))


@pytest.fixture(scope="module")
def giant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("giant")
    (folder / "config.json").write_text(json.dumps(TRUE_SHAPE))
    return folder


@pytest.mark.parametrize(("dtype", "share"), [("int8", 8 / 16), ("int4", 5 / 16)])
def test_narrow_weights_take_their_share_of_bfloat16(giant: Path, dtype: DType, share: float) -> None:
    config = read_config(Checkpoint(giant, TRUE_SHAPE, {}))
    layout = Layout(tp=16, ep=16)
    narrow, full = (plan(config, layout, replace(H200, dtype=kind)).weight_bytes for kind in (dtype, "bfloat16"))
    assert share < narrow / full < share + 0.03


def test_int4_whose_groups_ranks_would_part_is_refused_with_the_numbers(giant: Path) -> None:
    config = read_config(Checkpoint(giant, TRUE_SHAPE | {"moe_intermediate_size": 2016}, {}))
    refusal = plan(config, Layout(tp=2), replace(H200, dtype="int4")).refusal
    assert "tp=2 gives a rank 1008 of the 2016 inputs of model.layers.1.mlp." in refusal
    assert "take tp of 1, 3, 7, 9, 21, 63, or dtype int8" in refusal


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("family", ["axk1", "lfm2", "llama", "qwen3"])
def test_planned_bytes_of_narrow_weights_are_those_that_loading_takes(
    family: str, dtype: DType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")  # our loops keep A.X K1's expanding matrices in float32
    folder = build(tmp_path, family)
    planned = plan(read_config(Checkpoint.open(folder)), Layout(), Demand(memory_bytes=2**30, dtype=dtype))
    loaded = load_engine("tiny", str(folder), LoadOptions(dtype=dtype), Ranks.alone(), lambda *_: None)[1]
    biases = 2 * 8 * 4 if family == "axk1" else 0
    assert planned.weight_bytes + biases == loaded.weight_bytes


def test_the_true_model_weighs_what_is_published(giant: Path) -> None:
    config = read_config(Checkpoint(giant, TRUE_SHAPE, {}))
    whole = plan(config, Layout(), H200)
    assert whole.weight_bytes == pytest.approx(1.038e12, rel=0.001)
    assert whole.cache_bytes_per_token == 70_272
    assert "too much on each device" in whole.refusal


def test_sixteen_devices_hold_it_and_eight_hold_no_full_context(giant: Path) -> None:
    config = read_config(Checkpoint(giant, TRUE_SHAPE, {}))
    fits = plan(config, Layout(tp=16, ep=16), H200)
    assert not fits.refusal
    assert fits.cache_tokens > 131_072
    tight = plan(config, Layout(tp=8, ep=8), H200)
    assert "less than one context of 131,072" in tight.refusal


def test_layouts_that_do_not_divide_are_refused_with_the_reason(giant: Path) -> None:
    config = read_config(Checkpoint(giant, TRUE_SHAPE, {}))
    assert "does not divide num_attention_heads=64" in plan(config, Layout(tp=12), H200).refusal
    assert "cannot combine" in plan(config, Layout(tp=8, ep=8, pp=2), H200).refusal


@pytest.mark.parametrize("family", ["axk1", "lfm2", "llama", "qwen3"])
def test_planned_bytes_are_the_bytes_that_loading_takes(family: str, tmp_path: Path) -> None:
    folder = build(tmp_path, family)
    stored = sum(entry.end - entry.begin for entry in Checkpoint.open(folder).tensors.values())
    demand = Demand(memory_bytes=2**30, dtype="float32", prefill_tokens=64)
    planned = plan(read_config(Checkpoint.open(folder)), Layout(), demand)
    biases = 2 * 8 * 4 if family == "axk1" else 0  # router biases are optional, so a config does not announce them
    assert planned.weight_bytes + biases == stored
    assert planned.cache_bytes_per_token == engine_of(folder).executor.cache.bytes_per_token


def test_the_fewest_stages_come_first_and_whole_experts_before_sliced_ones() -> None:
    config = config_of("axk1")
    plans = [plan(config, layout, Demand(2**30, prefill_tokens=64)) for layout in layouts(config, 4)]
    assert [item.layout for item in recommend(plans, 4)][:2] == [Layout(tp=2, ep=2), Layout(tp=4, ep=4)]


def test_families_without_code_of_ours_are_not_guessed_at() -> None:
    with pytest.raises(Unsupported, match="qwen3_moe is not a family"):
        plan(config_of("qwen3_moe"), Layout(), H200)


def test_the_command_reads_a_config_an_index_or_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build(tmp_path, "axk1")
    for model in (folder, folder / "config.json", folder / "model.safetensors.index.json"):
        assert main(["--model", str(model), "--devices", "2", "--memory", "1GiB", "--dtype", "float32"]) == 0
        assert "* recommended" in capsys.readouterr().out
    assert main(["--model", str(folder), "--devices", "1", "--memory", "1MiB", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["refusal"]
    assert main(["--model", str(folder / "nothing.json"), "--devices", "1", "--memory", "1GiB"]) == 2
    assert main(["--model", str(folder), "--devices", "1", "--memory", "plenty"]) == 2
    assert "'plenty' is no amount of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "count"), [("141GiB", 141 * 2**30), ("80 GB", 80 * 10**9), ("1.5MiB", 1572864), ("7", 7)]
)
def test_amounts_of_memory_are_read_with_their_unit(text: str, count: int) -> None:
    assert parse_bytes(text) == count
