import pytest
from tests.tiny_checkpoints import config_of

from seodang.base.errors import InvalidInput
from seodang.runtime.layout import check_layout
from seodang.worker.messages import Layout


@pytest.mark.parametrize(
    ("family", "layout"),
    [
        ("axk1", Layout(tp=4)),
        ("axk1", Layout(tp=2, ep=2)),
        ("axk1", Layout(pp=3)),
        ("llama", Layout(tp=2)),
        ("qwen3", Layout(tp=2, pp=2)),
    ],
)
def test_layouts_that_divide_are_accepted(family: str, layout: Layout) -> None:
    check_layout(layout, config_of(family))


@pytest.mark.parametrize(
    ("family", "layout", "reason"),
    [
        ("axk1", Layout(tp=3), "tp=3 does not divide num_attention_heads=4; its divisors are 2, 4"),
        ("llama", Layout(tp=4), "tp=4 does not divide num_key_value_heads=2"),
        ("axk1", Layout(tp=4, ep=2), "ep is 1 or tp=4"),
        ("axk1", Layout(tp=2, ep=2, pp=2), "cannot combine"),
        ("llama", Layout(tp=2, ep=2), "has no experts"),
        ("llama", Layout(pp=3), "only 2 layers"),
        ("llama", Layout(tp=0), "at least 1"),
    ],
)
def test_layouts_that_cannot_work_are_refused_with_the_numbers(family: str, layout: Layout, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        check_layout(layout, config_of(family))
