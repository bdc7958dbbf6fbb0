"""Missions and emergency stops."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from seodang.adapters.robotics.domain import Action, Command, Ended, Limits, Observation, Start
from seodang.adapters.robotics.envelope import Envelope
from seodang.adapters.robotics.journal import Journal
from seodang.adapters.robotics.mission import Mission, Pace
from seodang.adapters.robotics.policy import StudentPolicy
from seodang.adapters.robotics.settings import RoboticsSettings
from seodang.adapters.robotics.stops import StopLatch, check_session
from seodang.base.errors import InvalidInput, SeodangError
from seodang.capture import Keep, keep_nothing
from seodang.client import AsyncClient

MAX_MISSION_CHARACTERS = 300


class RoboticsService:
    """Drives each mission in an envelope of its own and stops whichever it is told to."""

    def __init__(self, student: AsyncClient, settings: RoboticsSettings, keep: Keep = keep_nothing) -> None:
        self._student = student
        self._keep = keep
        self._settings = settings
        self._stops = StopLatch(settings.state_dir / "stops.json")

    async def drive(
        self, start: Start, observations: AsyncIterator[Observation]
    ) -> AsyncGenerator[Command | Ended, None]:
        """Commands for one mission, and its end.

        Raises:
            InvalidInput: the start or an observation can never be right.
            Conflict: a stop is latched for the session.
            AlreadyExists: the session is being driven.
        """
        settings = self._settings
        _check(start)
        with self._stops.session(start.session) as stop, Journal(settings.state_dir / "log", start.session) as journal:
            model = start.model or settings.model
            limits = self._limits(start)
            journal.write("start", mission=start.mission, model=model, max_actions=limits.max_actions)
            on_answer = None if start.shared_by is None else partial(self._keep, start.shared_by)
            policy = StudentPolicy(self._student, model, start.mission, on_answer)
            pace = Pace(settings.observation_timeout_s, 1 / settings.max_actions_per_s, settings.failures_before_fault)
            mission = Mission(policy, Envelope(limits, settings.holds_before_turn), journal, pace, stop)
            try:
                async with aclosing(mission.run(observations)) as events:
                    async for event in events:
                        yield event
            except SeodangError as error:
                journal.write("fault", reason=error.reason, message=error.message)
                raise

    def stop(self, session: str, reason: str) -> int:
        """Latches an emergency stop; returns how many running missions it stopped."""
        return self._stops.stop(session, reason)

    def release(self, session: str) -> None:
        """Lifts an emergency stop."""
        self._stops.release(session)

    def _limits(self, start: Start) -> Limits:
        settings = self._settings
        own = Limits(frozenset(Action), settings.max_actions, settings.max_observation_age_s)
        asked = Limits(
            start.allowed or own.allowed,
            own.max_actions if start.max_actions is None else start.max_actions,
            own.max_observation_age_s if start.max_observation_age_s is None else start.max_observation_age_s,
        )
        return own.narrowed(asked)


def _check(start: Start) -> None:
    check_session(start.session)
    if not start.mission.strip() or len(start.mission) > MAX_MISSION_CHARACTERS or not start.mission.isprintable():
        raise InvalidInput(
            f"start.mission={start.mission[:80]!r}: one line of 1 to {MAX_MISSION_CHARACTERS} characters",
            field="start.mission",
        )
