"""The depth of drafts follows what was measured, and is rarely wrong for long."""

from collections.abc import Callable
from functools import partial

from seodang.runtime.pace import FEW_STEPS, FIRST_WAIT, TRIAL_STEPS, Pace

DEPTHS = (0, 2, 4)
Rate = Callable[[int], float]


def run(pace: Pace, steps: int, rate: Rate, *, disturbed: int = 0) -> list[int]:
    """Steps of a machine that gives ``rate(depth)`` tokens a second; every ``disturbed``-th one takes fifty times as
    long.
    """
    chosen = []
    for step in range(1, steps + 1):
        depth = pace.choose()
        chosen.append(depth)
        late = 50 if disturbed and step % disturbed == 0 else 1
        pace.note(depth, 1 + depth, late * (1 + depth) / rate(depth))
    return chosen


def _near(best: int, depth: int) -> float:
    return 100 - abs(depth - best)


def test_it_goes_as_deep_as_pays() -> None:
    for best in DEPTHS:
        pace = Pace(DEPTHS)
        run(pace, 4 * TRIAL_STEPS, partial(_near, best))
        assert set(run(pace, FIRST_WAIT // 2, lambda _: 1.0)) == {best}


def test_what_does_not_pay_is_tried_ever_more_seldom() -> None:
    tried = [depth > 0 for depth in run(Pace(DEPTHS), 10_000, lambda depth: 100 / (1 + depth))]
    assert sum(tried) <= 8 * FEW_STEPS
    assert any(tried[-6_000:])


def test_a_close_call_takes_more_steps() -> None:
    pace = Pace((0, 3))
    chosen = run(pace, 2 * TRIAL_STEPS + 1, lambda depth: {0: 100, 3: 95}[depth])
    assert chosen.count(3) == TRIAL_STEPS


def test_a_worse_neighbour_ends_the_search() -> None:
    assert 4 not in run(Pace(DEPTHS), 10_000, lambda depth: {0: 3, 2: 2, 4: 9}[depth])


def test_it_follows_a_change() -> None:
    pace = Pace(DEPTHS)
    run(pace, 1_000, lambda depth: 1 + depth)
    run(pace, 1_500, lambda depth: 9 - depth)
    assert run(pace, 20, lambda depth: 9 - depth) == [0] * 20


def test_disturbed_steps_decide_nothing() -> None:
    pace = Pace(DEPTHS)
    run(pace, 2_000, lambda depth: 1 + depth, disturbed=5)
    assert pace.choose() == 4


def test_the_trial_of_two_depths_takes_turns() -> None:
    assert run(Pace((0, 3)), 6, lambda _: 1.0) == [0, 3, 0, 3, 0, 3]
