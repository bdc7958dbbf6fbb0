"""Ratios compare like with like, and name no peer that was not measured."""

import pytest
from benchmarks.result import Row
from benchmarks.serving import BF16, IN_LLAMA_CPP, IN_VLLM, INT4, INT8, Q8_0, RATIOS, REFERENCE, Contender

DECODE, PREFILL, START = "decode_tokens_per_s", "prefill_tokens_per_s", "start_s"
FIGURES = {
    BF16: (30.0, 600.0, 4.0),
    REFERENCE: (15.0, 900.0, 5.0),
    IN_VLLM: (25.0, 500.0, 40.0),
    IN_LLAMA_CPP: (20.0, 100.0, 1.0),
    INT8: (60.0, 550.0, 6.0),
    Q8_0: (40.0, 800.0, 1.0),
    INT4: (80.0, 540.0, 10.0),
}


def found(*absent: Contender) -> dict[tuple[str, int], Row]:
    return {
        (contender.label, 8): {DECODE: decode, PREFILL: prefill, START: start}
        for contender, (decode, prefill, start) in FIGURES.items()
        if contender not in absent
    }


def ratios(contender: Contender, *absent: Contender) -> dict[str, float | None]:
    return {ratio.name: ratio.of(contender, 8, found(*absent)) for ratio in RATIOS}


def test_our_bf16_is_over_the_fastest_bf16_peer_and_over_vllm() -> None:
    assert ratios(BF16) == pytest.approx(
        {"decode_to_best_bf16_peer": 30 / 25, "decode_to_Q8": None, "prefill_to_vLLM": 600 / 500, "start_to_vLLM": 0.1}
    )


def test_our_int8_is_over_llama_cpp_in_q8_0_and_not_over_bf16() -> None:
    assert ratios(INT8) == pytest.approx(
        {"decode_to_best_bf16_peer": None, "decode_to_Q8": 60 / 40, "prefill_to_vLLM": None, "start_to_vLLM": 0.15}
    )


def test_peers_have_no_ratios() -> None:
    assert set(ratios(IN_VLLM).values()) | set(ratios(Q8_0).values()) == {None}


def test_a_peer_that_was_not_measured_is_in_no_ratio() -> None:
    without = ratios(BF16, IN_VLLM)
    assert without["decode_to_best_bf16_peer"] == pytest.approx(30 / 20)
    assert (without["prefill_to_vLLM"], without["start_to_vLLM"]) == (None, None)
