"""One mission: wait for an observation, let the student decide, let the envelope judge, log, command."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from seodang.adapters.robotics.domain import Action, Command, Ended, Observation, Outcome, Rule
from seodang.adapters.robotics.envelope import Envelope, Verdict
from seodang.adapters.robotics.journal import Journal
from seodang.base.errors import DeadlineExpired, InvalidInput, Retriable, SeodangError, Unavailable
from seodang.tasks import InvalidAnswer

T = TypeVar("T")


class Policy(Protocol):
    """What drives: it sees every observation and is asked for an action."""

    def observe(self, observation: Observation) -> None:
        """Take in an observation."""

    async def decide(self, timeout_s: float) -> Action:
        """The action it wants."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The times that a mission keeps."""

    observation_timeout_s: float
    min_interval_s: float
    failures_before_fault: int


class _Stopped(Exception):
    """The emergency stop came while the mission waited for something else."""


class Mission:
    """Drives until the mission is over, its actions are spent, or it is stopped."""

    def __init__(self, policy: Policy, envelope: Envelope, journal: Journal, pace: Pace, stop: asyncio.Event) -> None:
        self._policy = policy
        self._envelope = envelope
        self._journal = journal
        self._pace = pace
        self._stop = stop
        self._next_sequence = 0
        self._commanded_at_s = float("-inf")
        self._failures_in_a_row = 0

    async def run(self, observations: AsyncIterator[Observation]) -> AsyncGenerator[Command | Ended, None]:
        """A command for each observation, then one end.

        Raises:
            InvalidInput: an observation out of its sequence.
            Unavailable: the student failed too often in a row.
        """
        while True:
            try:
                observation = await self._next(observations)
                if observation is None or observation.mission_over:
                    yield self._end(Outcome.STOPPED if observation is None else Outcome.MISSION_OVER)
                    return
                if self._envelope.is_spent:
                    yield self._end(Outcome.OUT_OF_ACTIONS)
                    return
                yield await self._command(observation)
            except _Stopped:
                yield self._hold(Rule.EMERGENCY_STOP)
                yield self._end(Outcome.STOPPED)
                return
            except TimeoutError:
                yield self._hold(Rule.WATCHDOG)
                yield self._end(Outcome.STOPPED)
                return

    async def _next(self, observations: AsyncIterator[Observation]) -> Observation | None:
        async def read() -> Observation | None:
            return await anext(observations, None)

        observation = await self._unless_stopped(read(), self._pace.observation_timeout_s)
        if observation is None:
            return None
        if observation.sequence != self._next_sequence:
            raise InvalidInput(
                f"observation.sequence is {observation.sequence} where {self._next_sequence} was due: count from 0, "
                "one more each time, and begin a new mission if observations were lost",
                field="observation.sequence",
            )
        if (observation.executed is None) != (observation.sequence == 0):
            raise InvalidInput(
                "observation.executed tells the action since the last observation: unset for the first one only",
                field="observation.executed",
            )
        self._next_sequence += 1
        return observation

    async def _command(self, observation: Observation) -> Command:
        seen_at_s = time.monotonic() - observation.age_s
        self._policy.observe(observation)
        wait_s = self._commanded_at_s + self._pace.min_interval_s - time.monotonic()
        if wait_s > 0:
            await self._unless_stopped(asyncio.sleep(wait_s), None)
        began_s = time.monotonic()
        proposal, verdict = await self._decide(observation, seen_at_s)
        decision_ms = 1000 * (time.monotonic() - began_s)
        command = Command(observation.sequence, verdict.action, proposal, verdict.rule, decision_ms)
        self._log(command, observation)
        self._commanded_at_s = time.monotonic()
        return command

    async def _decide(self, observation: Observation, seen_at_s: float) -> tuple[Action | None, Verdict]:
        """What the student wanted, if it wanted something, and what the robot may do."""
        left_s = self._envelope.limits.max_observation_age_s - (time.monotonic() - seen_at_s)
        if left_s <= 0:
            return None, self._envelope.hold(Rule.STALE_OBSERVATION)
        try:
            proposal = await self._unless_stopped(self._policy.decide(left_s), left_s)
        except InvalidAnswer:
            self._failures_in_a_row = 0
            return None, self._envelope.judge(None, observation.view)
        except (TimeoutError, DeadlineExpired) as error:
            return None, self._failed(Rule.DECISION_LATE, error)
        except Retriable as error:
            return None, self._failed(Rule.NO_DECISION, error)
        self._failures_in_a_row = 0
        if self._envelope.is_stale(time.monotonic() - seen_at_s):
            return proposal, self._envelope.hold(Rule.DECISION_LATE)
        return proposal, self._envelope.judge(proposal, observation.view)

    def _failed(self, rule: Rule, error: Exception) -> Verdict:
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= self._pace.failures_before_fault:
            said = error.message if isinstance(error, SeodangError) else "it did not answer in time"
            raise Unavailable(f"the student failed to decide {self._failures_in_a_row} times in a row: {said}")
        return self._envelope.hold(rule)

    async def _unless_stopped(self, work: Coroutine[Any, Any, T], timeout_s: float | None) -> T:
        """The result of ``work``. If the stop or the time limit comes first, ``work`` is cancelled."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                raise _Stopped
            if not working.done():
                raise TimeoutError
            return working.result()
        finally:
            await _cancelled(working, stopping)

    def _hold(self, rule: Rule) -> Command:
        """Tells the robot to hold without an observation to answer: the last one's number stands in."""
        command = Command(max(self._next_sequence - 1, 0), self._envelope.hold(rule).action, rule=rule)
        self._log(command, None)
        return command

    def _log(self, command: Command, observation: Observation | None) -> None:
        self._journal.write(
            "command",
            sequence=command.sequence,
            action=command.action.name,
            proposed=command.proposed.name if command.proposed else None,
            rule=command.rule.value if command.rule else None,
            decision_ms=round(command.decision_ms, 1),
            executed=observation.executed.name if observation and observation.executed else None,
            direction=observation.direction if observation else None,
            age_s=round(observation.age_s, 3) if observation else None,
            view=observation.view.tobytes().hex() if observation else None,
        )

    def _end(self, outcome: Outcome) -> Ended:
        self._journal.write("ended", outcome=outcome.name)
        return Ended(outcome, self._envelope.commands, self._envelope.interventions)


async def _cancelled(*tasks: "asyncio.Future[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
