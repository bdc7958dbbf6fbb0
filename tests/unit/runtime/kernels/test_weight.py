import pytest
import torch

from seodang.runtime.kernels.weight import RANGES, Int4, Int8

both_forms = pytest.mark.parametrize("form", [Int8, Int4])


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


@pytest.mark.parametrize("shape", [(1, 7), (5, 40), (16, 64), (33, 257)], ids=str)
def test_int4_is_within_what_cut_ends_and_half_a_step_make_of_a_groups_range(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape) * 10.0 ** torch.randint(-6, 4, (shape[0], 1))
    error = (Int4.of(weight).wide(torch.float32) - weight).abs()
    for numbers, errors in zip(weight.split(Int4.group, dim=1), error.split(Int4.group, dim=1), strict=True):
        numbers = torch.cat((numbers, torch.zeros(len(numbers), Int4.group - numbers.shape[1])), dim=1)
        low, high = numbers.aminmax(dim=1, keepdim=True)
        cut, rounded = (high - low) * (1 - min(RANGES)) / 2, numbers.abs().amax(1, keepdim=True) / 64
        assert (errors <= torch.maximum((high - low) / 30, cut) + rounded).all()


def test_int4_cuts_off_ends_only_where_the_squares_of_errors_become_smaller() -> None:
    torch.manual_seed(0)
    weight = torch.randn(400, Int4.group)
    low, high = weight.aminmax(dim=1, keepdim=True)
    step = (high - low) / 15
    plain = ((weight - low) / step).round() * step + low
    assert (Int4.of(weight).wide(torch.float32) - weight).square().mean() < (plain - weight).square().mean()


def test_what_int4_can_hold_stays_as_it_is() -> None:
    levels = torch.arange(16.0).repeat(4, 4) * torch.tensor([[1.0], [0.5], [-2.0], [0.125]])
    weight = levels + torch.tensor([[0.0], [-8.0], [3.0], [1.0]])
    assert torch.equal(Int4.of(weight).wide(torch.float32), weight)


@both_forms
def test_rows_of_zeros_stay_zeros(form: type[Int8] | type[Int4]) -> None:
    assert not form.of(torch.zeros(3, 8)).wide(torch.float32).any()


@both_forms
def test_weights_that_are_no_numbers_stay_none(form: type[Int8] | type[Int4]) -> None:
    assert form.of(torch.full((3, 40), torch.nan)).wide(torch.float32).isnan().all()


@both_forms
def test_rows_can_be_put_in_another_order(form: type[Int8] | type[Int4]) -> None:
    weight = form.of(torch.randn(37, 40))
    order = torch.randperm(37)
    assert torch.equal(weight[order].wide(torch.float32), weight.wide(torch.float32)[order])


@both_forms
def test_a_stack_of_matrices_has_scales_for_each(form: type[Int8] | type[Int4]) -> None:
    stack = torch.randn(2, 3, 4)
    narrow = form.of(stack)
    assert narrow.shape == (2, 3, 4)
    assert torch.equal(narrow[1].wide(torch.float32), form.of(stack[1]).wide(torch.float32))


@pytest.mark.parametrize(("form", "bits"), [(Int8, 8 + 32 / 256), (Int4, 5)])
def test_a_number_takes_so_many_bits(form: type[Int8] | type[Int4], bits: float) -> None:
    assert form.of(torch.randn(64, 256)).nbytes * 8 == bits * 64 * 256
