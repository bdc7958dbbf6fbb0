import torch

from seodang.runtime.kernels.weight import Int8


def test_a_row_is_within_half_a_step_of_the_original() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 40) * torch.tensor([1e-3, 1.0, 7.0, 1e3, 1e-6])[:, None]
    error = (Int8.of(weight).wide(torch.float32) - weight).abs()
    assert (error <= weight.abs().amax(-1, keepdim=True) / 254 * 1.001).all()


def test_what_int8_can_hold_stays_as_it_is() -> None:
    weight = Int8(torch.tensor([[127, -3, 0], [1, -127, 55]], dtype=torch.int8), torch.tensor([0.5, 0.25]))
    again = Int8.of(weight.wide(torch.float32))
    assert torch.equal(again.values, weight.values)
    assert torch.equal(again.scales, weight.scales)


def test_rows_of_zeros_stay_zeros() -> None:
    assert not Int8.of(torch.zeros(3, 8)).wide(torch.float32).any()


def test_rows_can_be_put_in_another_order() -> None:
    weight = Int8.of(torch.arange(12.0).view(3, 4))
    order = torch.tensor([2, 0, 1])
    assert torch.equal(weight[order].wide(torch.float32), weight.wide(torch.float32)[order])


def test_a_stack_of_matrices_has_scales_for_each() -> None:
    stack = torch.randn(2, 3, 4)
    narrow = Int8.of(stack)
    assert narrow.shape == (2, 3, 4)
    assert torch.equal(narrow[1].wide(torch.float32), Int8.of(stack[1]).wide(torch.float32))
