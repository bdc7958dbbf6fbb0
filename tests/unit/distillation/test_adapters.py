"""Low-rank adapters: who learns, what merging changes, and what PEFT reads."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests import tiny_checkpoints
from tests.unit.distillation.test_training import END, Died, V, training, weights
from torch import Tensor
from transformers import AutoModelForCausalLM

from seodang.base.errors import InvalidInput
from seodang.distillation.spec import AdapterShape, DenseShape
from seodang.distillation.training import Student, build_adapted, build_student, load_student, train
from seodang.distillation.training.adapters import AdaptedLinear, adapters_of, merge

IDS = torch.tensor([[3, 5, 7, 11, 2], [4, 4, 9, 1, 0]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished student to start from: a convolution, an attention, tied embeddings."""
    root = tmp_path_factory.mktemp("base")
    (root / "tokenizer").mkdir()
    (root / "tokenizer" / "tokenizer.json").write_text("{}")
    shape = DenseShape(hidden_size=16, layers=2, heads=2, kv_heads=1, intermediate_size=32)
    build_student(shape, V, END, context_tokens=64, seed=0).save(root / "student", root / "tokenizer")
    return root / "student"


def shape(base: Path, **changes: object) -> AdapterShape:
    return AdapterShape(**({"base": str(base), "rank": 3, "alpha": 6.0} | changes))  # type: ignore[arg-type]


def adapted(base: Path, **changes: object) -> Student:
    return build_adapted(shape(base, **changes), END, seed=4)


def logits(student: Student) -> Tensor:
    with torch.no_grad():
        whole: Tensor = student.model(input_ids=IDS, use_cache=False).logits
    return whole


def disturbed(student: Student) -> Student:
    """Adapters as a training may leave them."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in adapters_of(student.model).values():
            layer.up_OR.normal_(generator=draw)
    return student


def test_new_adapters_add_nothing(base: Path) -> None:
    assert torch.equal(logits(adapted(base)), logits(load_student(base)))


def test_only_adapters_learn(base: Path, tmp_path: Path) -> None:
    student = adapted(base)
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    learning = {name for name, each in student.model.named_parameters() if each.requires_grad}
    assert {name.rpartition(".")[2] for name in learning} == {"down_RI", "up_OR"}
    train(student, training(tmp_path, []))
    for name, value in student.model.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in learning)
    assert all(each.grad is None for each in student.model.parameters() if not each.requires_grad)
    checkpoint = load_file(max(tmp_path.glob("step-*")))
    assert {name.removeprefix("model.") for name in checkpoint if name.startswith("model.")} == learning


def test_every_linear_layer_but_the_head_has_one_unless_some_are_named(base: Path) -> None:
    every = adapters_of(adapted(base).model)
    assert {name.rpartition(".")[2] for name in every} == {
        "in_proj", "out_proj", "q_proj", "k_proj", "v_proj", "w1", "w2", "w3",
    }  # fmt: skip
    some = adapters_of(adapted(base, target_modules=("q_proj", "w1")).model)
    assert {name.rpartition(".")[2] for name in some} == {"q_proj", "w1"}


@pytest.mark.parametrize("name", ["lm_head", "qproj", "embed_tokens"])
def test_a_layer_that_is_not_there_is_refused(base: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"no linear layer '{name}' .*choose from in_proj, k_proj") as caught:
        adapted(base, target_modules=("q_proj", name))
    assert caught.value.field == "spec.shape.adapter.target_modules"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="loads no causal language model"):
        adapted(tmp_path)


def test_the_same_seed_makes_the_same_adapters_and_leaves_the_generator_alone(base: Path) -> None:
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    assert weights(adapted(base)) == weights(adapted(base))
    assert torch.rand(1) == before


def test_merged_weights_say_what_base_and_adapters_say(base: Path) -> None:
    student = disturbed(adapted(base))
    expected = logits(student)
    assert not torch.allclose(expected, logits(load_student(base)), atol=0.1)
    merge(student.model)
    torch.testing.assert_close(logits(student), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, AdaptedLinear) for module in student.model.modules())


@pytest.mark.parametrize("family", ["axk1", "llama", "qwen3"])
def test_any_family_can_be_a_base(tmp_path: Path, family: str) -> None:
    """Experts that lie in one tensor are no linear layers, and stay as they are."""
    student = disturbed(adapted(tiny_checkpoints.build(tmp_path / family, family)))
    expected = logits(student)
    student.model(input_ids=IDS, use_cache=False).logits.sum().backward()
    touched = {name for name, each in student.model.named_parameters() if each.grad is not None}
    assert touched == {name for name, each in student.model.named_parameters() if each.requires_grad}
    merge(student.model)
    torch.testing.assert_close(logits(student), expected, rtol=1e-3, atol=1e-3)


def test_a_saved_student_is_a_plain_model_with_its_adapters_beside(base: Path, tmp_path: Path) -> None:
    student = disturbed(adapted(base))
    expected = logits(student)
    student.save(tmp_path / "student", base.parent / "tokenizer")
    names = {str(path.relative_to(tmp_path / "student")) for path in (tmp_path / "student").rglob("*")}
    assert names == {
        "adapter", "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    }  # fmt: skip
    merged = load_student(tmp_path / "student")
    assert merged.parameters == load_student(base).parameters
    torch.testing.assert_close(logits(merged), expected, rtol=0.1, atol=0.3)  # weights rounded to bfloat16


def test_the_adapter_files_hold_all_that_was_learned(base: Path, tmp_path: Path) -> None:
    """Read by the names and the formula of PEFT's LoRA: W + alpha / r * B A."""
    student = disturbed(adapted(base))
    expected = logits(student)
    student.save(tmp_path / "student", base.parent / "tokenizer")
    config = json.loads((tmp_path / "student" / "adapter" / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "student" / "adapter" / "adapter_model.safetensors")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert (config["peft_type"], config["task_type"], config["bias"]) == ("LORA", "CAUSAL_LM", "none")
    with torch.no_grad():
        for name in (name for name in tensors if name.endswith(".lora_A.weight")):
            module = plain.get_submodule(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight"))
            assert isinstance(module, torch.nn.Linear)
            up = tensors[name.replace("lora_A", "lora_B")]
            module.weight += up @ tensors[name] * config["lora_alpha"] / config["r"]
    torch.testing.assert_close(logits(Student(plain)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:::peft", "ignore:`is_gradient_checkpointing`")
def test_peft_itself_reads_them(base: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    student = disturbed(adapted(base, target_modules=("q_proj", "w1")))
    expected = logits(student)
    student.save(tmp_path / "student", base.parent / "tokenizer")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(plain, tmp_path / "student" / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=IDS).logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dies_at", [6, 13])
def test_a_training_of_adapters_that_died_goes_on_bit_by_bit_the_same(base: Path, tmp_path: Path, dies_at: int) -> None:
    calm = adapted(base)
    train(calm, training(tmp_path / "calm", []))
    with pytest.raises(Died):
        train(adapted(base), training(tmp_path / "broken", [], dies_at=dies_at))
    resumed = adapted(base)
    train(resumed, training(tmp_path / "broken", []))
    assert weights(resumed) == weights(calm)
    for student, name in ((calm, "calm"), (resumed, "broken")):
        student.save(tmp_path / name / "student", base.parent / "tokenizer")
    one, two = ((tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("calm", "broken"))
    assert one == two
