"""The safety envelope: what the model wants goes in, what the robot may do comes out.

It trusts nothing that the model says or remembers. It looks at the robot's newest view alone and permits an action only
where the cells it concerns are seen to be as the action needs them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seodang.adapters.robotics.domain import Action, Limits, Rule
from seodang.adapters.robotics.view import CLOSED, LOCKED, OPEN, PORTABLE, Kind, ahead, carried


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the robot is told, and the rule that put it in the place of the model's action, if one did."""

    action: Action
    rule: Rule | None = None


class Envelope:
    """Guards one mission. ``holds_before_turn`` is after how many refusals in a row HOLD becomes a turn to the right.

    A model that is asked the same thing again says the same thing again, so HOLD alone can last for ever. Turning in
    place is always safe for a robot of one cell, and shows the model something new.
    """

    def __init__(self, limits: Limits, holds_before_turn: int) -> None:
        self.limits = limits
        self.commands = 0
        self.interventions = 0
        self._holds_before_turn = holds_before_turn
        self._refusals_in_a_row = 0

    @property
    def is_spent(self) -> bool:
        """Has the mission used all its actions?"""
        return self.commands >= self.limits.max_actions

    def is_stale(self, age_s: float) -> bool:
        """Is an observation of this age too old to act on?"""
        return age_s > self.limits.max_observation_age_s

    def hold(self, rule: Rule) -> Verdict:
        """Nothing can be decided: stand still."""
        return self._counted(Verdict(Action.HOLD, rule))

    def judge(self, proposal: Action | None, view: NDArray[np.uint8]) -> Verdict:
        """The model's action if it is safe in this view, else HOLD or a turn. ``None``: the model said no action."""
        rule = self._objection(proposal, view)
        if rule is None and proposal is not None:
            self._refusals_in_a_row = 0
            return self._counted(Verdict(proposal))
        self._refusals_in_a_row += 1
        turn = self._refusals_in_a_row > self._holds_before_turn and Action.TURN_RIGHT in self.limits.allowed
        return self._counted(Verdict(Action.TURN_RIGHT if turn else Action.HOLD, rule))

    def _objection(self, proposal: Action | None, view: NDArray[np.uint8]) -> Rule | None:
        if proposal is None or proposal is Action.HOLD:
            return Rule.INVALID_ANSWER
        if proposal not in self.limits.allowed:
            return Rule.NOT_ALLOWED
        return objection(proposal, view)

    def _counted(self, verdict: Verdict) -> Verdict:
        self.commands += 1
        self.interventions += verdict.rule is not None
        return verdict


def objection(action: Action, view: NDArray[np.uint8]) -> Rule | None:
    """The rule that forbids an action in a view, if one does. An unseen cell forbids as a wall does."""
    kind, colour, state = ahead(view)
    load = carried(view)
    if action is Action.FORWARD:
        free = kind in (Kind.EMPTY, Kind.FLOOR, Kind.GOAL) or (kind is Kind.DOOR and state == OPEN)
        return None if free else Rule.FORWARD_BLOCKED
    if action is Action.PICK_UP:
        if load is not None:
            return Rule.HANDS_FULL
        return None if kind in PORTABLE else Rule.NOTHING_TO_PICK_UP
    if action is Action.DROP:
        if load is None:
            return Rule.NOTHING_TO_DROP
        return None if kind is Kind.EMPTY else Rule.NO_ROOM_TO_DROP
    if action is Action.TOGGLE:
        if kind is Kind.DOOR and state == LOCKED:
            has_key = load is not None and load[0] is Kind.KEY and load[1] == colour
            return None if has_key else Rule.LOCKED
        is_door = kind is Kind.DOOR and state in (OPEN, CLOSED)
        return None if is_door or kind is Kind.BOX else Rule.NOTHING_TO_TOGGLE
    return None
