"""The kernels of ``kernels.c``, and torch where it is faster. Activations are float32 whatever the weights are."""

import ctypes
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import torch
import torch.nn.functional as F

from seodang.runtime.attention import Group
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.kernels.weight import Int4, Int8, Weight
from seodang.runtime.walk import Survey, TailDraws

TYPES: Final = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}
INT4: Final = 3
FEW_TOKENS: Final = 32
"""Up to here the weights' way to the processor is the limit, and our loops follow it more closely than a large GEMM."""
FEW_TOKENS_OF_BFLOAT16: Final = 7
"""The same for bfloat16 weights where the processor multiplies them as they are: then the limit is reached later."""
FEW_TOKENS_OF_NARROW: Final = 96
"""The same for int8 and int4 there, which become bfloat16 first: that must be worth its time."""
FEW_TOKENS_OF_TILES: Final = 256
"""The same for bfloat16 weights where our loops have tiles to multiply them by."""
FEW_TOKENS_OF_INT8_TILES: Final = 1024
FEW_TOKENS_OF_CONTEXT: Final = 96
"""Tokens of a batch up to which a prompt is sure to look at its context as a single token does."""
LONGEST_TOP: Final = 128
"""Head entries up to which inserting them one by one is fast."""
LARGEST_HEAD: Final = 1024
SIDE: Final = 16
LINE: Final = 64
"""Tokens of a tile, and bytes that it holds of one."""

_LANES: Final = 16
_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float


class Bfloat16(IntEnum):
    """What a processor has for products of bfloat16."""

    NOTHING = 0
    VECTORS = 1
    """Which torch uses, and our loops do not."""
    TILES = 2
    """Both use them: inputs are rounded, to bfloat16 or, for int8, to fifteen bits; one token's as those of many."""


class NativeKernels:
    """See ``seodang.runtime.kernels.interface.Kernels``."""

    def __init__(self, library: ctypes.CDLL, *, bfloat16: Bfloat16 | None = None) -> None:
        """``bfloat16``: what to use; None: find out what there is."""
        self.activations = torch.float32
        if bfloat16 is None:
            bfloat16 = Bfloat16(library.seodang_multiplies_bfloat16())
        self.tiles = bfloat16 is Bfloat16.TILES
        """Whether products of bfloat16 are computed by tiles, which sum in float32."""
        self._fast_bfloat16 = bool(bfloat16)
        self._few_tokens = {torch.float32: FEW_TOKENS}
        """Weights that torch multiplies faster than our loops do with more tokens than this."""
        if bfloat16:
            self._few_tokens[torch.bfloat16] = FEW_TOKENS_OF_TILES if self.tiles else FEW_TOKENS_OF_BFLOAT16
            self._few_tokens[torch.int8] = FEW_TOKENS_OF_INT8_TILES if self.tiles else FEW_TOKENS_OF_NARROW
            self._few_tokens[torch.uint8] = FEW_TOKENS_OF_NARROW
        self._torch = TorchKernels(torch.float32, self._wide)
        self._widen = _bind(library, "widen", *[_POINTER] * 3, *[_LONG] * 2)
        self._linear = _bind(library, "linear", *[_POINTER] * 5, _INT, *[_LONG] * 3)
        self._gated = _bind(library, "gated", *[_POINTER] * 8, _INT, *[_LONG] * 3)
        self._experts = _bind(library, "experts", *[_POINTER] * 12, _INT, *[_LONG] * 6)
        self._rms_norm = _bind(library, "rms_norm", *[_POINTER] * 2, _LONG, _POINTER, _INT, *[_LONG] * 2, _FLOAT)
        self._rotate = _bind(library, "rotate", *[_POINTER] * 2, *[_LONG] * 2, *[_POINTER] * 2, *[_LONG] * 3)
        self._place_heads = _bind(
            library, "place_heads", *[_POINTER] * 4, _INT, _FLOAT, *[_POINTER] * 4, _INT, _POINTER, *[_LONG] * 4
        )
        self._attention = _bind(
            library, "attention", *[_POINTER] * 5, _INT, _LONG, *[_POINTER] * 2, *[_LONG] * 6, _FLOAT
        )

        self._survey = _bind(library, "survey", *[_POINTER] * 6, _FLOAT, *[_LONG] * 4)
        self._draw_tail = _bind(library, "draw_tail", *[_POINTER] * 5, _FLOAT, _LONG, *[_POINTER] * 4, *[_LONG] * 5)

    def context_dtype(self, cache: torch.dtype, tokens: int) -> torch.dtype:
        """The cache's own bfloat16 where torch multiplies that many times as fast, and computes the matrices too."""
        faster = self._fast_bfloat16 and cache is torch.bfloat16 and tokens > FEW_TOKENS_OF_CONTEXT
        return cache if faster else self.activations

    def linear(self, x_TK: torch.Tensor, weight_NK: Weight) -> torch.Tensor:
        """[T, N]"""
        if self._prefers_torch(len(x_TK), weight_NK):
            return self._torch.linear(x_TK.to(_product_dtype(weight_NK)), weight_NK).float()
        return self._product(x_TK, weight_NK)

    def logits(self, x_TK: torch.Tensor, head_NK: torch.Tensor) -> torch.Tensor:
        """float32 [T, N]; tiles keep their sums, torch's products of bfloat16 would not."""
        if self.tiles and head_NK.dtype is torch.bfloat16:
            return self._product(x_TK, head_NK)
        if self._prefers_torch(len(x_TK), head_NK):
            return F.linear(x_TK, head_NK.float())
        return self._product(x_TK, head_NK)

    def _product(self, x_TK: torch.Tensor, weight_NK: Weight) -> torch.Tensor:
        assert x_TK.dtype is torch.float32
        tokens, inputs = x_TK.shape
        x_TK, outputs = x_TK.contiguous(), weight_NK.shape[0]
        out, packed = torch.empty(tokens, outputs), self._room_to_pack(tokens, inputs, weight_NK)
        pointers = (out.data_ptr(), _pointer(packed), x_TK.data_ptr(), *_pointers(weight_NK))
        self._linear(*pointers, _type(weight_NK), tokens, outputs, inputs)
        return out

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Root mean square norm of the last dimension."""
        size, kind = x.shape[-1], TYPES[weight.dtype]
        if x.ndim != 2 or x.stride(1) != 1:
            x = x.contiguous()
        rows, stride = x.numel() // size, x.stride(-2)
        out = torch.empty(x.shape)
        self._rms_norm(out.data_ptr(), x.data_ptr(), stride, weight.data_ptr(), kind, rows, size, epsilon)
        return out

    def rotate(self, x_TND: torch.Tensor, cos_sin: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Rotate heads whose first and second half are the two coordinates."""
        cos, sin = cos_sin
        tokens, heads, size = x_TND.shape
        if x_TND.stride(2) != 1:
            x_TND = x_TND.contiguous()
        out = torch.empty(x_TND.shape)
        strides = x_TND.stride()[:2]
        self._rotate(out.data_ptr(), x_TND.data_ptr(), *strides, cos.data_ptr(), sin.data_ptr(), tokens, heads, size)
        return out

    def place_heads(
        self,
        qkv_THD: torch.Tensor,
        norms: tuple[torch.Tensor, torch.Tensor] | None,
        epsilon: float,
        cos_sin: tuple[torch.Tensor, torch.Tensor],
        keys: torch.Tensor,
        values: torch.Tensor,
        slots_T: torch.Tensor,
    ) -> torch.Tensor:
        """Queries [T, N, D]; keys and values to their slots."""
        tokens, all_heads, size = qkv_THD.shape
        key_heads = keys.shape[2]
        assert qkv_THD.is_contiguous()
        assert size <= LARGEST_HEAD
        assert slots_T.dtype is torch.int64
        out = torch.empty(tokens, all_heads - 2 * key_heads, size)
        weights = (None, None) if norms is None else norms
        kind = 0 if norms is None else TYPES[norms[0].dtype]
        self._place_heads(
            *(_pointer(tensor) for tensor in (out, qkv_THD, *weights)),
            *(kind, epsilon),
            *(tensor.data_ptr() for tensor in (*cos_sin, keys, values)),
            *(TYPES[keys.dtype], slots_T.data_ptr(), tokens, out.shape[1], key_heads, size),
        )
        return out

    def gated(self, x_TH: torch.Tensor, gate_up_IH: Weight, down_HI: Weight) -> torch.Tensor:
        """down(silu(gate(x)) * up(x))"""
        tokens, hidden = x_TH.shape
        if self._prefers_torch(tokens, down_HI):
            return self._torch.gated(x_TH.to(_product_dtype(down_HI)), gate_up_IH, down_HI).float()
        assert x_TH.dtype is torch.float32
        x_TH, width = x_TH.contiguous(), down_HI.shape[1]
        out, inner = torch.empty(tokens, hidden), torch.empty(tokens, 2 * width)
        packed = self._room_to_pack(tokens, max(hidden, width), down_HI)
        pointers = [_pointer(tensor) for tensor in (out, inner, packed, x_TH)]
        pointers += [*_pointers(gate_up_IH), *_pointers(down_HI)]
        self._gated(*pointers, _type(down_HI), tokens, hidden, width)
        return out

    def experts(
        self,
        x_TH: torch.Tensor,
        ids_Tk: torch.Tensor,
        weights_Tk: torch.Tensor,
        gate_up_EIH: Weight,
        down_EHI: Weight,
        first: int,
    ) -> torch.Tensor:
        """Weighted sum of each token's chosen experts: [T, H]."""
        tokens, hidden = x_TH.shape
        count, _, width = down_EHI.shape
        pairs = ids_Tk.numel()
        of_each = min(tokens, pairs // count)  # were they spread evenly
        if self._prefers_torch(of_each, down_EHI):
            x_TH = x_TH.to(_product_dtype(down_EHI))
            return self._torch.experts(x_TH, ids_Tk, weights_Tk, gate_up_EIH, down_EHI, first).float()
        assert (x_TH.dtype, ids_Tk.dtype, weights_Tk.dtype) == (torch.float32, torch.int64, torch.float32)
        x_TH, ids_Tk, weights_Tk = x_TH.contiguous(), ids_Tk.contiguous(), weights_Tk.contiguous()
        out, inner, outer = torch.empty(tokens, hidden), torch.empty(pairs, 2 * width), torch.empty(pairs, hidden)
        order = torch.empty(2 * (pairs + count + 1), dtype=torch.int32)
        packed = self._room_to_pack(pairs + SIDE * min(pairs, count), max(hidden, width), down_EHI)
        pointers = [_pointer(tensor) for tensor in (out, inner, outer, order, packed, x_TH, ids_Tk, weights_Tk)]
        pointers += [*_pointers(gate_up_EIH), *_pointers(down_EHI)]
        self._experts(*pointers, _type(down_EHI), tokens, ids_Tk.shape[1], first, count, hidden, width)
        return out

    def attention(
        self,
        query_RND: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        value_size: int,
        group: Group,
        scale: float,
    ) -> torch.Tensor:
        """One query token a row over its paged context: [R, N, V]."""
        assert group.blocks is not None
        assert group.blocks.is_contiguous()
        assert group.lengths_R is not None
        rows, heads, size = query_RND.shape
        key_heads = keys.shape[2]
        query_RND = query_RND.contiguous()
        out, scratch = torch.empty(rows, heads, value_size), torch.empty(rows * heads * group.context)
        self._attention(
            *(tensor.data_ptr() for tensor in (out, scratch, query_RND, keys, values)),
            *(TYPES[keys.dtype], values.shape[3], group.blocks.data_ptr(), group.lengths_R.data_ptr()),
            *(rows, key_heads, heads // key_heads, size, value_size, group.context, scale),
        )
        return out

    def survey(self, survey: Survey, logits_PS: torch.Tensor, scale: float, first: int) -> None:
        """Add logits of the tokens from ``first`` on."""
        top_k = survey.top_ids_Pk.shape[1]
        if top_k > LONGEST_TOP:
            return self._torch.survey(survey, logits_PS, scale, first)
        logits_PS = logits_PS.contiguous()
        results = (survey.peak_P, survey.mass_P, survey.moment_P, survey.top_values_Pk, survey.top_ids_Pk)
        pointers = [tensor.data_ptr() for tensor in (*results, logits_PS)]
        self._survey(*pointers, scale, first, *logits_PS.shape, top_k)
        return None

    def draw_tail(self, draws: TailDraws, logits_PS: torch.Tensor, scale: float, first: int) -> None:
        """Draw what lies among the tokens from ``first`` on."""
        logits_PS, threads = logits_PS.contiguous(), torch.get_num_threads()
        heads, points = draws.head_ids_Pk.contiguous(), draws.points_Pn.contiguous()
        tail_P = draws.tail_P.nan_to_num(0.0)  # nothing is drawn from what is no distribution
        room = torch.empty(threads, _round_up(logits_PS.shape[1], _LANES))
        results = (draws.ids_Pn, draws.logprobs_Pn, draws.before_P, room, logits_PS)
        given = (draws.normaliser_P, tail_P, heads, points)
        sizes = (*logits_PS.shape, heads.shape[1], points.shape[1], threads)
        self._draw_tail(
            *(tensor.data_ptr() for tensor in results), scale, first, *(tensor.data_ptr() for tensor in given), *sizes
        )

    def _prefers_torch(self, tokens: int, weight: Weight) -> bool:
        held = weight.dtype if isinstance(weight, torch.Tensor) else weight.values.dtype
        return tokens > self._few_tokens.get(held, tokens)

    def _room_to_pack(self, tokens: int, inputs: int, weight: Weight) -> torch.Tensor | None:
        """For inputs of products by tiles; None: these are none."""
        if not self.tiles or not (isinstance(weight, Int8) or _is_bfloat16(weight)):
            return None
        return torch.empty(_round_up(tokens, SIDE), _round_up(inputs, LINE) + 2, dtype=torch.bfloat16)

    def _wide(self, weight: Int4, dtype: torch.dtype) -> torch.Tensor:
        assert dtype is torch.bfloat16
        outputs, inputs = weight.shape
        wide = torch.empty(outputs, inputs, dtype=dtype)
        self._widen(wide.data_ptr(), *_pointers(weight), outputs, inputs)
        return wide


def _pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _pointers(weight: Weight) -> list[int | None]:
    """Of the matrix and of its scales."""
    if isinstance(weight, torch.Tensor):
        assert weight.is_contiguous()
        return [weight.data_ptr(), None]
    assert weight.values.is_contiguous()
    assert weight.scales.is_contiguous()
    return [weight.values.data_ptr(), weight.scales.data_ptr()]


def _is_bfloat16(weight: Weight) -> bool:
    return isinstance(weight, torch.Tensor) and weight.dtype is torch.bfloat16


def _round_up(count: int, step: int) -> int:
    return -(-count // step) * step


def _product_dtype(weight: Weight) -> torch.dtype:
    """In which torch multiplies it."""
    return weight.dtype if isinstance(weight, torch.Tensor) else torch.bfloat16


def _type(weight: Weight) -> int:
    if isinstance(weight, Int4):
        return INT4
    return TYPES[weight.dtype if isinstance(weight, torch.Tensor) else weight.values.dtype]


def _bind(library: ctypes.CDLL, name: str, *signature: type) -> Callable[..., None]:
    function = getattr(library, f"seodang_{name}")
    function.argtypes, function.restype = list(signature), None
    return function  # type: ignore[no-any-return]
