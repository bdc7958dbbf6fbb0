"""The parts of models/teacher-mini/recipe that a silent fault could hide in."""

import dataclasses
import importlib
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from seodang.tasks import Example, Message, Role

FOLDER = Path(__file__).parents[3] / "models" / "teacher-mini"
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "n_shared_experts": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 4,
    "topk_group": 2,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}

pytestmark = pytest.mark.skipif(
    not (FOLDER / "tokenizer.json").exists(), reason=f"the bundled teacher is not in {FOLDER}: run `make teacher`"
)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The recipe's modules by name; they live beside the checkpoint, outside the package."""
    monkeypatch.syspath_prepend(str(FOLDER / "recipe"))
    return {name: importlib.import_module(name) for name in ("architecture", "mixture", "muon", "recipe", "train")}


@pytest.fixture
def tiny(parts: dict[str, ModuleType], tmp_path: Path) -> Any:
    """The recipe with a tiny network, and a work folder that holds the tokenizer."""
    (tmp_path / "tokenizer").symlink_to(FOLDER)
    return dataclasses.replace(parts["recipe"].load(), model=TINY)


def batch(parts: dict[str, ModuleType], number: int) -> Any:
    """Two rows of eight random tokens, all learnt, one of them tutored."""
    torch.manual_seed(number)
    return parts["mixture"].Batch(
        tokens_RT=torch.randint(7, 4096, (2, 8)),
        positions_RT=torch.arange(8).expand(2, 8),
        mask_R1TT=torch.ones(8, 8, dtype=torch.bool).tril().expand(2, 1, 8, 8),
        weights_P=torch.tensor(([1.0] * 7 + [0.0]) * 2),
        dropout_RT1=torch.full((2, 8, 1), 0.1),
        tutored_S=torch.tensor([3]),
        embeddings_S=torch.randn(1, 384),
    )


def test_a_misspelt_key_is_refused(parts: dict[str, ModuleType], tmp_path: Path) -> None:
    text = (FOLDER / "recipe" / "recipe.toml").read_text(encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(text.replace("rate_points", "rate_spots"), encoding="utf-8")
    with pytest.raises(TypeError, match="rate_spots"):
        parts["recipe"].load(tmp_path / "recipe.toml")


def test_sorted_experts_agree_with_the_plain_ones(parts: dict[str, ModuleType], tiny: Any, tmp_path: Path) -> None:
    network = parts["train"]._trainer(tiny, tmp_path).network.eval()
    tokens = torch.randint(7, 4096, (3, 20))
    fast = network(tokens).logits
    network.set_experts_implementation("eager")
    assert torch.allclose(fast, network(tokens).logits, atol=1e-5)


def test_training_resumed_from_a_checkpoint_ends_in_the_same_weights(
    parts: dict[str, ModuleType], tiny: Any, tmp_path: Path
) -> None:
    train = parts["train"]

    def steps(trainer: Any, numbers: range) -> None:
        trainer.network.train()
        for number in numbers:
            drawn = batch(parts, number)
            torch.manual_seed(number)
            trainer.step(drawn, number)

    whole = train._trainer(tiny, tmp_path)
    steps(whole, range(4))
    first = train._trainer(tiny, tmp_path)
    steps(first, range(2))
    train._save(first, tmp_path / "checkpoint.pt", 2, 1.5)
    second = train._trainer(tiny, tmp_path)
    assert train._restore(second, tmp_path / "checkpoint.pt") == (2, 1.5)
    steps(second, range(2, 4))
    for expected, found in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_muon_steps_are_orthogonal_matrices_expert_by_expert(parts: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    experts = torch.nn.Parameter(torch.randn(3, 8, 16))
    before = experts.detach().clone()
    muon = parts["muon"].Muon([experts], lr=1.0, weight_decay=0.0, packed=frozenset({id(experts)}))
    experts.grad = torch.randn(3, 8, 16)
    muon.step()
    halves = (before - experts.detach()).reshape(6, 4, 16)
    singular = torch.linalg.svdvals(halves)
    assert singular.min() > 0.6
    assert singular.max() < 1.3


def test_noise_leaves_the_words_of_the_answer_alone(parts: dict[str, ModuleType]) -> None:
    messages = (Message(Role.SYSTEM, "tools: hwu64"), Message(Role.USER, "please dim the lights in my bedroom today"))
    example = Example(messages, '{"name":"dim","arguments":{"house_place":"bedroom"}}', "hwu64", "dim", "en")
    rng = random.Random(0)
    texts = {parts["mixture"].noisy(example, rng).messages[-1].content for _ in range(200)}
    assert len(texts) > 20
    assert all("bedroom" in text for text in texts)


def test_examples_packed_in_one_row_do_not_see_each_other(parts: dict[str, ModuleType]) -> None:
    mixture = parts["mixture"]
    packer = object.__new__(mixture.Mixture)
    packer._embeddings = torch.zeros(1, 384)
    pieces = [mixture._Piece([5, 6, 7], [0.0, 1.0, 0.0], 0.0, -1, -1), mixture._Piece([8, 9], [1.0, 0.0], 0.0, 0, 0)]
    packed = packer._packed([pieces], 6)
    mask = packed.mask_R1TT[0, 0]
    assert packed.positions_RT.tolist() == [[0, 1, 2, 0, 1, 0]]
    assert mask[2, :3].all()
    assert not mask[3, :3].any()
    assert not mask[1, 2]
    assert packed.tutored_S.tolist() == [3]
