import contextlib
import io
from typing import Any

import gymnasium
import minigrid  # noqa: F401  (registers the rooms)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seodang.adapters.robotics.domain import TO_MODEL, Action, Limits, Rule
from seodang.adapters.robotics.envelope import Envelope, Verdict, objection

EVERYTHING = Limits(frozenset(Action), 1000, 1.0)
EMPTY, WALL, UNSEEN, FLOOR, GOAL, LAVA = (1, 0, 0), (2, 5, 0), (0, 0, 0), (3, 0, 0), (8, 1, 0), (9, 0, 0)
OPEN_DOOR, CLOSED_DOOR, LOCKED_RED_DOOR = (4, 0, 0), (4, 0, 1), (4, 0, 2)
RED_KEY, BLUE_KEY, BALL, BOX = (5, 0, 0), (5, 2, 0), (6, 0, 0), (7, 3, 0)


def view(ahead: tuple[int, int, int] = EMPTY, carried: tuple[int, int, int] = EMPTY) -> np.ndarray:
    seen = np.tile(np.array(EMPTY, np.uint8), (7, 7, 1))
    seen[3, 5], seen[3, 6] = ahead, carried
    return seen


@pytest.mark.parametrize("free", [EMPTY, FLOOR, GOAL, OPEN_DOOR])
def test_forward_onto_free_ground_passes(free: tuple[int, int, int]) -> None:
    assert objection(Action.FORWARD, view(free)) is None


@pytest.mark.parametrize("solid", [UNSEEN, WALL, LAVA, CLOSED_DOOR, LOCKED_RED_DOOR, RED_KEY, BALL, BOX])
def test_forward_into_anything_else_is_refused(solid: tuple[int, int, int]) -> None:
    assert objection(Action.FORWARD, view(solid)) is Rule.FORWARD_BLOCKED


@pytest.mark.parametrize(
    ("ahead", "carried", "rule"),
    [
        (BALL, EMPTY, None),
        (BOX, EMPTY, None),
        (RED_KEY, BALL, Rule.HANDS_FULL),
        (EMPTY, EMPTY, Rule.NOTHING_TO_PICK_UP),
        (CLOSED_DOOR, EMPTY, Rule.NOTHING_TO_PICK_UP),
        (WALL, EMPTY, Rule.NOTHING_TO_PICK_UP),
    ],
)
def test_it_picks_up_what_can_be_carried_with_empty_hands(ahead: Any, carried: Any, rule: Rule | None) -> None:
    assert objection(Action.PICK_UP, view(ahead, carried)) is rule


@pytest.mark.parametrize(
    ("ahead", "carried", "rule"),
    [
        (EMPTY, BALL, None),
        (EMPTY, EMPTY, Rule.NOTHING_TO_DROP),
        (WALL, BALL, Rule.NO_ROOM_TO_DROP),
        (FLOOR, BALL, Rule.NO_ROOM_TO_DROP),
        (UNSEEN, BALL, Rule.NO_ROOM_TO_DROP),
        (OPEN_DOOR, BALL, Rule.NO_ROOM_TO_DROP),
    ],
)
def test_it_drops_what_it_holds_onto_an_empty_cell(ahead: Any, carried: Any, rule: Rule | None) -> None:
    assert objection(Action.DROP, view(ahead, carried)) is rule


@pytest.mark.parametrize(
    ("ahead", "carried", "rule"),
    [
        (CLOSED_DOOR, EMPTY, None),
        (OPEN_DOOR, EMPTY, None),
        (BOX, EMPTY, None),
        (LOCKED_RED_DOOR, RED_KEY, None),
        (LOCKED_RED_DOOR, BLUE_KEY, Rule.LOCKED),
        (LOCKED_RED_DOOR, EMPTY, Rule.LOCKED),
        (WALL, EMPTY, Rule.NOTHING_TO_TOGGLE),
        (BALL, EMPTY, Rule.NOTHING_TO_TOGGLE),
    ],
)
def test_it_toggles_doors_and_boxes_only(ahead: Any, carried: Any, rule: Rule | None) -> None:
    assert objection(Action.TOGGLE, view(ahead, carried)) is rule


def test_an_action_that_the_mission_forbids_is_refused_although_it_is_safe() -> None:
    envelope = Envelope(Limits(frozenset({Action.FORWARD}), 10, 1.0), 1)
    assert envelope.judge(Action.TURN_LEFT, view()) == Verdict(Action.HOLD, Rule.NOT_ALLOWED)


def test_no_action_at_all_is_answered_with_hold() -> None:
    assert Envelope(EVERYTHING, 1).judge(None, view()) == Verdict(Action.HOLD, Rule.INVALID_ANSWER)


def test_the_second_refusal_in_a_row_turns_so_that_the_model_sees_something_new() -> None:
    envelope = Envelope(EVERYTHING, 1)
    verdicts = [envelope.judge(Action.FORWARD, view(WALL)).action for _ in range(3)]
    assert verdicts == [Action.HOLD, Action.TURN_RIGHT, Action.TURN_RIGHT]
    envelope.judge(Action.TURN_LEFT, view(WALL))
    assert envelope.judge(Action.FORWARD, view(WALL)).action is Action.HOLD


def test_it_does_not_turn_where_turning_is_forbidden() -> None:
    envelope = Envelope(Limits(frozenset({Action.FORWARD}), 10, 1.0), 0)
    assert envelope.judge(Action.FORWARD, view(WALL)).action is Action.HOLD


def test_limits_can_only_be_tightened() -> None:
    own = Limits(frozenset({Action.FORWARD, Action.DONE}), 100, 1.0)
    asked = Limits(frozenset(Action), 5000, 0.2)
    assert own.narrowed(asked) == Limits(own.allowed, 100, 0.2)


cells = st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 2))


@settings(deadline=None)
@given(ahead=cells, carried=cells, wanted=st.sampled_from([None, *Action]), allowed=st.sets(st.sampled_from(Action)))
def test_whatever_it_is_asked_it_commands_only_what_is_allowed_and_safe(
    ahead: Any, carried: Any, wanted: Action | None, allowed: set[Action]
) -> None:
    envelope = Envelope(Limits(frozenset(allowed), 100, 1.0), 1)
    for _ in range(3):
        verdict = envelope.judge(wanted, view(ahead, carried))
        assert verdict.action is Action.HOLD or verdict.action in allowed
        assert objection(verdict.action, view(ahead, carried)) is None
        assert (verdict.rule is None) == (verdict.action is wanted and wanted is not Action.HOLD)


ROOMS = ("BabyAI-BossLevel-v0", "BabyAI-UnlockLocal-v0", "MiniGrid-LavaCrossingS9N2-v0", "MiniGrid-LavaGapS7-v0")


@settings(max_examples=60, deadline=None)
@given(room=st.sampled_from(ROOMS), seed=st.integers(0, 10_000), wanted=st.lists(st.sampled_from(Action), max_size=60))
def test_in_real_rooms_a_permitted_action_always_does_what_it_says(room: str, seed: int, wanted: list[Action]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        env = gymnasium.make(room).unwrapped
        seen, _ = env.reset(seed=seed)
    envelope = Envelope(EVERYTHING, 1)
    for proposal in wanted:
        verdict = envelope.judge(proposal, seen["image"])
        if verdict.action is Action.HOLD:
            continue
        pose, load, grid = tuple(env.agent_pos), env.carrying, env.grid.encode()
        seen, reward, terminated, truncated, _ = env.step(int(TO_MODEL[verdict.action]))
        assert not (terminated and reward == 0), "the robot died"
        if verdict.action is Action.FORWARD:
            assert tuple(env.agent_pos) != pose
        elif verdict.action is Action.PICK_UP:
            assert load is None
            assert env.carrying is not None
        elif verdict.action is Action.DROP:
            assert load is not None
            assert env.carrying is None
        elif verdict.action is Action.TOGGLE:
            assert not np.array_equal(env.grid.encode(), grid)
        if terminated or truncated:
            return
