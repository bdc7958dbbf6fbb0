"""Every kernel beside plain torch, in shapes that leave rests of vectors, tiles, tokens and experts."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from seodang.runtime.attention import BLOCK_TOKENS, AttentionPlan, Group
from seodang.runtime.batch import Batch, Row
from seodang.runtime.kernels.native_kernels import (
    FEW_TOKENS,
    FEW_TOKENS_OF_CONTEXT,
    FEW_TOKENS_OF_NARROW,
    FEW_TOKENS_OF_TILES,
    Bfloat16,
    NativeKernels,
)
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.kernels.weight import Int4, Int8, Weight

PLAIN = TorchKernels(torch.float32)
DTYPES = (torch.float32, torch.bfloat16)
TOKENS = (1, 2, 3, 5, 8, 13, FEW_TOKENS)
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "bfloat16"])
FORMS = (*DTYPES, Int8, Int4)
NAMES = ("float32", "bfloat16", "int8", "int4")
every_form = pytest.mark.parametrize("dtype", FORMS, ids=NAMES)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


Form = torch.dtype | type[Int8] | type[Int4]


def weights(*shape: int, dtype: Form) -> Any:
    """A matrix, a stack of matrices, or a vector."""
    weight = torch.randn(shape) * shape[-1] ** -0.5
    return weight.to(dtype) if isinstance(dtype, torch.dtype) else dtype.of(weight)


def wide(weight: Weight) -> torch.Tensor:
    return weight.float() if isinstance(weight, torch.Tensor) else weight.wide(torch.float32)


def assert_near(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-5)


@every_form
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 7), (6, 40), (100, 64), (33, 257), (300, 512), (9, 9001)])
def test_linear(native: NativeKernels, dtype: Form, tokens: int, outputs: int, inputs: int) -> None:
    x, weight = torch.randn(tokens, inputs), weights(outputs, inputs, dtype=dtype)
    assert_near(native.linear(x, weight), PLAIN.linear(x, wide(weight)))


@both_dtypes
def test_many_tokens_go_by_torch_where_it_is_faster(library: ctypes.CDLL, dtype: torch.dtype) -> None:
    fast = NativeKernels(library, bfloat16=Bfloat16.VECTORS)
    x, weight = torch.randn(FEW_TOKENS + 1, 40), weights(24, 40, dtype=dtype)
    assert torch.equal(fast.linear(x, weight), PLAIN.linear(x.to(dtype), weight).float())
    gate_up, down = weights(2 * 12, 40, dtype=dtype), weights(40, 12, dtype=dtype)
    assert torch.equal(fast.gated(x, gate_up, down), PLAIN.gated(x.to(dtype), gate_up, down).float())


@pytest.mark.parametrize("dtype", [Int8, Int4], ids=NAMES[2:])
@pytest.mark.parametrize(("outputs", "inputs"), [(16, 32), (100, 257)])
def test_many_tokens_of_narrow_weights_become_products_of_bfloat16_there(
    library: ctypes.CDLL, dtype: Form, outputs: int, inputs: int
) -> None:
    fast, tokens = NativeKernels(library, bfloat16=Bfloat16.VECTORS), FEW_TOKENS_OF_NARROW + 1
    x, weight = torch.randn(tokens, inputs), weights(outputs, inputs, dtype=dtype)
    assert torch.equal(fast.linear(x, weight), PLAIN.linear(x.bfloat16(), weight).float())
    assert_near(fast.linear(x[:-1], weight), PLAIN.linear(x[:-1], wide(weight)))
    ids, shares = torch.randint(0, 2, (2 * tokens, 2)), torch.rand(2 * tokens, 2)
    x, gate_up = torch.randn(2 * tokens, inputs), weights(2, 2 * outputs, inputs, dtype=dtype)
    down = weights(2, inputs, outputs, dtype=dtype)
    expected = PLAIN.experts(x.bfloat16(), ids, shares, gate_up, down, 0).float()
    assert torch.equal(fast.experts(x, ids, shares, gate_up, down, 0), expected)


@pytest.mark.parametrize("tokens", [FEW_TOKENS + 1, 64, 150])
@pytest.mark.parametrize("dtype", FORMS[1:], ids=NAMES[1:])
def test_many_tokens_go_by_our_loops_elsewhere(library: ctypes.CDLL, dtype: Form, tokens: int) -> None:
    kernels = NativeKernels(library, bfloat16=Bfloat16.NOTHING)
    x, weight = torch.randn(tokens, 250), weights(70, 250, dtype=dtype)
    assert_near(kernels.linear(x, weight), PLAIN.linear(x, wide(weight)))
    assert torch.equal(kernels.linear(x, weight)[-1:], kernels.linear(x[-1:], weight))
    gate_up, down = weights(2 * 50, 250, dtype=dtype), weights(250, 50, dtype=dtype)
    assert_near(kernels.gated(x, gate_up, down), PLAIN.gated(x, wide(gate_up), wide(down)))
    ids, shares = torch.randint(0, 3, (tokens, 2)), torch.rand(tokens, 2)
    many_up, many_down = weights(2, 2 * 50, 250, dtype=dtype), weights(2, 250, 50, dtype=dtype)
    expected = PLAIN.experts(x, ids, shares, wide(many_up), wide(many_down), 1)
    assert_near(kernels.experts(x, ids, shares, many_up, many_down, 1), expected)


@every_form
def test_a_token_has_the_same_result_alone_and_in_company_to_the_bit(native: NativeKernels, dtype: Form) -> None:
    x, weight = torch.randn(FEW_TOKENS, 250), weights(70, 250, dtype=dtype)
    gate_up, down = weights(2 * 50, 250, dtype=dtype), weights(250, 50, dtype=dtype)
    for compute in (lambda x: native.linear(x, weight), lambda x: native.gated(x, gate_up, down)):
        alone = torch.cat([compute(row[None]) for row in x])
        for company in (2, 3, 4, 7, 8, 11, 12, 21, FEW_TOKENS):
            assert torch.equal(torch.cat([compute(rows) for rows in x.split(company)]), alone), company


@every_form
def test_linear_reads_rows_that_lie_apart(native: NativeKernels, dtype: Form) -> None:
    x, weight = torch.randn(5, 90)[:, 10:50], weights(9, 40, dtype=dtype)
    assert_near(native.linear(x, weight), PLAIN.linear(x, wide(weight)))


@both_dtypes
@pytest.mark.parametrize("size", [16, 23, 96])
def test_rms_norm_of_rows_in_wider_rows(native: NativeKernels, dtype: torch.dtype, size: int) -> None:
    x, weight = torch.randn(5, 130)[:, 17 : 17 + size], weights(size, dtype=dtype)
    assert_near(native.rms_norm(x, weight, 1e-6), PLAIN.rms_norm(x, weight.float(), 1e-6))


@both_dtypes
def test_rms_norm_of_heads(native: NativeKernels, dtype: torch.dtype) -> None:
    x, weight = torch.randn(3, 6, 24)[:, 2:5], weights(24, dtype=dtype)
    assert_near(native.rms_norm(x, weight, 1e-5), PLAIN.rms_norm(x, weight.float(), 1e-5))


@pytest.mark.parametrize("size", [6, 32])
def test_rotate_heads_in_wider_rows(native: NativeKernels, size: int) -> None:
    x = torch.randn(5, 7, size + 3)[:, 2:6, 3:]
    cos_sin = torch.randn(5, 1, size), torch.randn(5, 1, size)
    assert_near(native.rotate(x, cos_sin), PLAIN.rotate(x, cos_sin))


@both_dtypes
@pytest.mark.parametrize("normed", [True, False], ids=["normed", "as they are"])
@pytest.mark.parametrize("tokens", [1, 5, 70])
def test_place_heads(native: NativeKernels, dtype: torch.dtype, normed: bool, tokens: int) -> None:
    heads, key_heads, size, blocks = 6, 2, 20, 7
    qkv, cos_sin = torch.randn(tokens, heads + 2 * key_heads, size), torch.randn(2, tokens, 1, size).unbind()
    norms = (weights(size, dtype=dtype), weights(size, dtype=dtype)) if normed else None
    slots = torch.randperm(blocks * BLOCK_TOKENS)[:tokens]

    def place(kernels: NativeKernels | TorchKernels, norms: Any) -> tuple[torch.Tensor, ...]:
        pools = [torch.full((blocks, BLOCK_TOKENS, key_heads, size), 7.0, dtype=dtype) for _ in range(2)]
        return kernels.place_heads(qkv, norms, 1e-6, cos_sin, *pools, slots), *pools

    wide_norms = None if norms is None else tuple(norm.float() for norm in norms)
    queries, *pools = place(native, norms)
    plain_queries, *plain_pools = place(PLAIN, wide_norms)
    assert_near(queries, plain_queries)
    for pool, plain_pool in zip(pools, plain_pools, strict=True):
        nearly = 2e-5 if dtype is torch.float32 else 2**-7  # a sum in another order may be rounded to the neighbour
        torch.testing.assert_close(pool, plain_pool, rtol=nearly, atol=2e-5)
    assert torch.equal(pools[1], plain_pools[1]), "values are only rounded"


@pytest.mark.parametrize("bfloat16", Bfloat16)
def test_only_large_batches_look_at_bfloat16_as_it_is(library: ctypes.CDLL, bfloat16: Bfloat16) -> None:
    kernels = NativeKernels(library, bfloat16=bfloat16)
    assert kernels.context_dtype(torch.bfloat16, FEW_TOKENS_OF_CONTEXT) is torch.float32
    assert kernels.context_dtype(torch.float32, 2048) is torch.float32
    assert (kernels.context_dtype(torch.bfloat16, 2048) is torch.bfloat16) == bool(bfloat16)


@both_dtypes
@pytest.mark.parametrize("bfloat16", Bfloat16)
@pytest.mark.parametrize("tokens", [3, 150])
def test_logits_are_never_rounded_to_bfloat16(
    library: ctypes.CDLL, dtype: torch.dtype, bfloat16: Bfloat16, tokens: int
) -> None:
    if bfloat16 > library.seodang_multiplies_bfloat16():
        pytest.skip(f"this processor has no {bfloat16.name.lower()}")
    x, head = torch.randn(tokens, 40), weights(70, 40, dtype=dtype)
    inputs = x.bfloat16().float() if bfloat16 is Bfloat16.TILES and dtype is torch.bfloat16 else x
    assert_near(NativeKernels(library, bfloat16=bfloat16).logits(x, head), PLAIN.linear(inputs, wide(head)))


@every_form
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize(("hidden", "width"), [(24, 20), (250, 130)])
def test_gated(native: NativeKernels, dtype: Form, tokens: int, hidden: int, width: int) -> None:
    x = torch.randn(tokens, hidden)
    gate_up, down = weights(2 * width, hidden, dtype=dtype), weights(hidden, width, dtype=dtype)
    assert_near(native.gated(x, gate_up, down), PLAIN.gated(x, wide(gate_up), wide(down)))


@every_form
@pytest.mark.parametrize(
    ("first", "here", "tokens"),
    [(*place, tokens) for place in ((0, 16), (0, 4), (4, 4), (15, 1)) for tokens in TOKENS]
    + [(0, 16, FEW_TOKENS + 1), (0, 16, 5 * FEW_TOKENS), (4, 4, FEW_TOKENS + 1)],
)
def test_experts(native: NativeKernels, dtype: Form, first: int, here: int, tokens: int) -> None:
    """``here`` of 16 experts are on this rank; few tokens leave most of them without any."""
    hidden, width, chosen = 72, 44, 3
    x, shares = torch.randn(tokens, hidden), torch.rand(tokens, chosen)
    ids = torch.stack([torch.randperm(16)[:chosen] for _ in range(tokens)])
    gate_up, down = weights(here, 2 * width, hidden, dtype=dtype), weights(here, hidden, width, dtype=dtype)
    got = native.experts(x, ids, shares, gate_up, down, first)
    assert_near(got, PLAIN.experts(x, ids, shares, wide(gate_up), wide(down), first))


@every_form
def test_experts_whom_nobody_chose_add_nothing(native: NativeKernels, dtype: Form) -> None:
    gate_up, down = weights(2, 16, 24, dtype=dtype), weights(2, 24, 8, dtype=dtype)
    ids = torch.tensor([[0, 1], [5, 0]])
    assert not native.experts(torch.randn(2, 24), ids, torch.rand(2, 2), gate_up, down, 2).any()


@both_dtypes
def test_experts_of_many_tokens_each_go_by_torch_where_it_is_faster(library: ctypes.CDLL, dtype: torch.dtype) -> None:
    tokens = 2 * FEW_TOKENS + 2
    x, shares, ids = torch.randn(tokens, 24), torch.rand(tokens, 2), torch.randint(0, 6, (tokens, 2))
    gate_up, down = weights(4, 2 * 8, 24, dtype=dtype), weights(4, 24, 8, dtype=dtype)
    expected = PLAIN.experts(x.to(dtype), ids, shares, gate_up, down, 1).float()
    assert torch.equal(
        NativeKernels(library, bfloat16=Bfloat16.VECTORS).experts(x, ids, shares, gate_up, down, 1), expected
    )


@pytest.fixture
def tiled(library: ctypes.CDLL) -> NativeKernels:
    """The kernels with tiles."""
    if library.seodang_multiplies_bfloat16() != Bfloat16.TILES:
        pytest.skip("no tiles here (AMX)")
    return NativeKernels(library, bfloat16=Bfloat16.TILES)


OF_TILES = (torch.bfloat16, Int8)
tiled_forms = pytest.mark.parametrize("dtype", OF_TILES, ids=["bfloat16", "int8"])
TOKENS_OF_TILES = (1, 7, 16, 17, 32, 33, FEW_TOKENS_OF_TILES)


def product_of_rounded(x: torch.Tensor, weight: Weight) -> torch.Tensor:
    """As tiles should do it: of bfloat16, or of whole numbers up to 127 * 128."""
    if isinstance(weight, torch.Tensor):
        return PLAIN.linear(x.bfloat16().float(), wide(weight))
    scales = x.abs().amax(-1, keepdim=True) / (127 * 128)
    return PLAIN.linear((x / scales).round() * scales, wide(weight))


def gated_of_rounded(x: torch.Tensor, gate_up: Weight, down: Weight) -> torch.Tensor:
    gate, up = product_of_rounded(x, gate_up).chunk(2, dim=-1)
    return product_of_rounded(torch.nn.functional.silu(gate) * up, down)


@tiled_forms
@pytest.mark.parametrize("tokens", TOKENS_OF_TILES)
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 7), (16, 32), (33, 257), (100, 64), (300, 520)])
def test_linear_by_tiles(tiled: NativeKernels, dtype: Form, tokens: int, outputs: int, inputs: int) -> None:
    x, weight = torch.randn(tokens, inputs), weights(outputs, inputs, dtype=dtype)
    nearly = 2e-5 if dtype is torch.bfloat16 else 1e-4  # a tie may go the other way, a 16,256th of the largest input
    torch.testing.assert_close(tiled.linear(x, weight), product_of_rounded(x, weight), rtol=2e-5, atol=nearly)


@tiled_forms
@pytest.mark.parametrize("tokens", TOKENS_OF_TILES)
def test_gated_by_tiles(tiled: NativeKernels, dtype: Form, tokens: int) -> None:
    x = torch.randn(tokens, 250)
    gate_up, down = weights(2 * 130, 250, dtype=dtype), weights(250, 130, dtype=dtype)
    # Sums in another order may be rounded to the neighbour, a 256th away.
    torch.testing.assert_close(tiled.gated(x, gate_up, down), gated_of_rounded(x, gate_up, down), rtol=0, atol=1e-2)


@tiled_forms
@pytest.mark.parametrize(("first", "here", "tokens"), [(0, 16, 1), (0, 16, 160), (4, 4, 5), (4, 4, 40), (15, 1, 9)])
def test_experts_by_tiles(tiled: NativeKernels, dtype: Form, first: int, here: int, tokens: int) -> None:
    """``here`` of 16 experts are on this rank; few tokens leave most of them without any."""
    hidden, width, chosen = 72, 44, 3
    x, shares = torch.randn(tokens, hidden), torch.rand(tokens, chosen)
    ids = torch.stack([torch.randperm(16)[:chosen] for _ in range(tokens)])
    gate_up, down = weights(here, 2 * width, hidden, dtype=dtype), weights(here, hidden, width, dtype=dtype)
    expected = torch.zeros(tokens, hidden)
    for expert in range(here):
        answer = gated_of_rounded(x, gate_up[expert], down[expert])
        expected += answer * (shares * (ids == first + expert)).sum(1, keepdim=True)
    got = tiled.experts(x, ids, shares, gate_up, down, first)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-2)


@tiled_forms
def test_company_changes_no_bit_of_a_product_by_tiles(tiled: NativeKernels, dtype: Form) -> None:
    x, weight = torch.randn(FEW_TOKENS_OF_TILES, 250), weights(70, 250, dtype=dtype)
    gate_up, down = weights(2 * 50, 250, dtype=dtype), weights(250, 50, dtype=dtype)
    for compute in (lambda x: tiled.linear(x, weight), lambda x: tiled.gated(x, gate_up, down)):
        alone = torch.cat([compute(row[None]) for row in x])
        for company in (2, 15, 16, 17, 33, FEW_TOKENS_OF_TILES):
            assert torch.equal(torch.cat([compute(rows) for rows in x.split(company)]), alone), company


@tiled_forms
def test_what_is_no_number_stays_with_its_token(tiled: NativeKernels, dtype: Form) -> None:
    x, weight = torch.randn(20, 40), weights(24, 40, dtype=dtype)
    x[3] = torch.nan
    got = tiled.linear(x, weight)
    assert got[3].isnan().all()
    torch.testing.assert_close(got[[0, 19]], product_of_rounded(x[[0, 19]], weight), rtol=2e-5, atol=1e-4)


def group_of(lengths: list[int]) -> tuple[Group, int]:
    """Rows whose next token stands behind so many others, over shuffled blocks; the number of blocks."""
    counts = [length // BLOCK_TOKENS + 1 for length in lengths]
    blocks = iter((torch.randperm(sum(counts)) + 1).tolist())
    rows = [
        Row([7], length, [next(blocks) for _ in range(count)], slice(0, 1))
        for length, count in zip(lengths, counts, strict=True)
    ]
    (group,) = AttentionPlan.of(Batch.of(rows), torch.float32, torch.device("cpu")).groups
    return group, sum(counts) + 1


def unused_slots(group: Group, blocks: int) -> torch.Tensor:
    """Slots of the pool that no row may look at."""
    unused = np.ones((blocks, BLOCK_TOKENS), bool)
    assert group.blocks is not None
    assert group.lengths_R is not None
    for table, length in zip(group.blocks.view(group.rows, -1), group.lengths_R.tolist(), strict=True):
        for slot in range(length):
            unused[table[slot // BLOCK_TOKENS], slot % BLOCK_TOKENS] = False
    return torch.from_numpy(unused)


@both_dtypes
@pytest.mark.parametrize("lengths", [[0], [15, 16, 0, 40], [5, 200]], ids=str)
@pytest.mark.parametrize(
    ("heads", "key_heads", "size", "value_size"),
    [(1, 1, 16, 16), (4, 2, 20, 20), (6, 2, 64, 64), (14, 1, 40, 40), (9, 3, 96, 96)],
)
def test_attention_over_keys_and_values(
    native: NativeKernels,
    dtype: torch.dtype,
    lengths: list[int],
    heads: int,
    key_heads: int,
    size: int,
    value_size: int,
) -> None:
    group, blocks = group_of(lengths)
    query = torch.randn(len(lengths), heads, size)
    keys, values = (torch.randn(blocks, BLOCK_TOKENS, key_heads, size).to(dtype) for _ in range(2))
    expected = PLAIN.attention(query, keys.float(), values.float(), value_size, group, 0.3)
    for pool in (keys, values):
        pool[unused_slots(group, blocks)] = torch.nan
    assert_near(native.attention(query, keys, values, value_size, group, 0.3), expected)


@both_dtypes
@pytest.mark.parametrize(("heads", "size", "latent"), [(4, 40, 32), (3, 29, 21), (12, 128, 96)])
def test_attention_over_latents_that_are_keys_and_values(
    native: NativeKernels, dtype: torch.dtype, heads: int, size: int, latent: int
) -> None:
    group, blocks = group_of([3, 33, 64])
    query, pool = torch.randn(3, heads, size), torch.randn(blocks, BLOCK_TOKENS, 1, size).to(dtype)
    wide = pool.float()
    expected = PLAIN.attention(query, wide, wide, latent, group, 0.2)
    pool[unused_slots(group, blocks)] = torch.nan
    assert_near(native.attention(query, pool, pool, latent, group, 0.2), expected)


def test_attention_of_a_row_is_the_same_alone_and_in_company_to_the_bit(native: NativeKernels) -> None:
    lengths = [40, 3, 100]
    group, blocks = group_of(lengths)
    query, pool = torch.randn(3, 4, 48), torch.randn(blocks, BLOCK_TOKENS, 1, 48)
    together = native.attention(query, pool, pool, 32, group, 0.2)
    assert group.blocks is not None
    for row, length in enumerate(lengths):
        table = group.blocks.view(3, -1)[row, : length // BLOCK_TOKENS + 1].tolist()
        batch = Batch.of([Row([7], length, table, slice(0, 1))])
        (alone,) = AttentionPlan.of(batch, torch.float32, torch.device("cpu")).groups
        assert torch.equal(native.attention(query[row : row + 1], pool, pool, 32, alone, 0.2)[0], together[row])


@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_attention_survives_extreme_scores(native: NativeKernels, logit: float) -> None:
    group, blocks = group_of([20])
    query, pool = torch.full((1, 1, 16), logit), torch.randn(blocks, BLOCK_TOKENS, 1, 16)
    expected = PLAIN.attention(query, pool, pool, 16, group, 1.0)
    assert_near(native.attention(query, pool, pool, 16, group, 1.0), expected)


Compute = Callable[[NativeKernels], torch.Tensor]


def large_computations(dtype: Form) -> dict[str, Compute]:
    """Enough work for threads to share, in numbers that they cannot share evenly."""
    x, weight = torch.randn(7, 310), weights(333, 310, dtype=dtype)
    gate_up, down = weights(2 * 210, 310, dtype=dtype), weights(310, 210, dtype=dtype)
    many_up, many_down = weights(5, 2 * 70, 310, dtype=dtype), weights(5, 310, 70, dtype=dtype)
    ids, shares = torch.randint(0, 5, (7, 2)), torch.rand(7, 2)
    group, blocks = group_of([50, 3, 170])
    query, pool = torch.randn(3, 20, 64), torch.randn(blocks, BLOCK_TOKENS, 1, 64)
    pool = pool.bfloat16() if dtype is torch.bfloat16 else pool
    return {
        "linear": lambda kernels: kernels.linear(x, weight),
        "gated": lambda kernels: kernels.gated(x, gate_up, down),
        "experts": lambda kernels: kernels.experts(x, ids, shares, many_up, many_down, 0),
        "attention": lambda kernels: kernels.attention(query, pool, pool, 48, group, 0.2),
    }


@every_form
@pytest.mark.parametrize("name", ["linear", "gated", "experts", "attention"])
def test_threads_change_no_bit(native: NativeKernels, dtype: Form, name: str) -> None:
    compute, before = large_computations(dtype)[name], torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(compute(native))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
