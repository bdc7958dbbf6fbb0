"""Translates between the contract and the robotics service."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf import duration_pb2
from grpc import aio

from seodang.adapters.robotics.domain import Action, Command, Ended, Observation, Start
from seodang.adapters.robotics.service import RoboticsService
from seodang.adapters.robotics.view import read_view
from seodang.api.robotics.v1 import robotics_pb2, robotics_pb2_grpc
from seodang.base.errors import InvalidInput, SeodangError
from seodang.rpc import to_fault

Context = aio.ServicerContext[Any, Any]


class RoboticsServicer(robotics_pb2_grpc.RoboticsServiceServicer):
    """The contract's RoboticsService."""

    def __init__(self, service: RoboticsService) -> None:
        self._service = service

    async def Drive(
        self, request_iterator: AsyncIterator[robotics_pb2.DriveRequest], context: Context
    ) -> AsyncIterator[robotics_pb2.DriveResponse]:
        """One mission. What fails before the first command is the call's status, what fails later a fault."""
        start = _start(await anext(request_iterator, None))
        accepted = False
        try:
            async with aclosing(self._service.drive(start, _observations(request_iterator))) as events:
                async for event in events:
                    yield _response(event)
                    accepted = True
        except SeodangError as error:
            if not accepted:
                raise
            yield robotics_pb2.DriveResponse(fault=to_fault(error))

    async def EmergencyStop(
        self, request: robotics_pb2.EmergencyStopRequest, context: Context
    ) -> robotics_pb2.EmergencyStopResponse:
        """Latches a stop."""
        stopped = self._service.stop(request.session, request.reason)
        return robotics_pb2.EmergencyStopResponse(stopped_sessions=stopped)

    async def ReleaseStop(
        self, request: robotics_pb2.ReleaseStopRequest, context: Context
    ) -> robotics_pb2.ReleaseStopResponse:
        """Lifts a stop."""
        self._service.release(request.session)
        return robotics_pb2.ReleaseStopResponse()


def _start(request: robotics_pb2.DriveRequest | None) -> Start:
    if request is None or not request.HasField("start"):
        raise InvalidInput("the first message of Drive must be `start`, and only that", field="start")
    start, envelope = request.start, request.start.envelope
    if envelope.max_actions < 0:
        raise InvalidInput(
            f"start.envelope.max_actions={envelope.max_actions}: 0 takes the server's limit, else 1 or more",
            field="start.envelope.max_actions",
        )
    limited = envelope.HasField("max_observation_age")
    return Start(
        session=start.session,
        mission=start.mission,
        model=start.model,
        allowed=frozenset(_action(action, "start.envelope.allowed") for action in envelope.allowed),
        max_actions=envelope.max_actions or None,
        max_observation_age_s=_seconds(envelope.max_observation_age, "start.envelope") if limited else None,
        shared_by=start.subject if start.store else None,
    )


async def _observations(requests: AsyncIterator[robotics_pb2.DriveRequest]) -> AsyncIterator[Observation]:
    async for request in requests:
        if not request.HasField("observation"):
            raise InvalidInput("after `start` every message of Drive must be `observation`", field="observation")
        yield _observation(request.observation)


def _observation(observation: robotics_pb2.Observation) -> Observation:
    if not 0 <= observation.direction <= 3:
        raise InvalidInput(
            f"observation.direction={observation.direction}: 0 to 3, east, south, west, north",
            field="observation.direction",
        )
    executed = observation.executed
    return Observation(
        sequence=observation.sequence,
        view=read_view(observation.view),
        direction=observation.direction,
        age_s=_seconds(observation.age, "observation"),
        executed=_action(executed, "observation.executed") if executed else None,
        mission_over=observation.mission_over,
    )


def _action(number: int, field: str) -> Action:
    if number not in frozenset(Action):
        raise InvalidInput(f"{field}={number} is no action", field=field)
    return Action(number)


def _seconds(age: duration_pb2.Duration, field: str) -> float:
    seconds = age.seconds + age.nanos / 1e9
    if seconds < 0:
        raise InvalidInput(f"an age of {seconds:g} s in {field} lies in the future: check the clocks", field=field)
    return seconds


def _response(event: Command | Ended) -> robotics_pb2.DriveResponse:
    if isinstance(event, Ended):
        outcome = robotics_pb2.MissionEnded.Outcome.ValueType(event.outcome)
        ended = robotics_pb2.MissionEnded(outcome=outcome, actions=event.actions, interventions=event.interventions)
        return robotics_pb2.DriveResponse(ended=ended)
    replaced = event.proposed if event.rule is not None else None
    command = robotics_pb2.Command(
        sequence=event.sequence,
        action=robotics_pb2.Action.ValueType(event.action),
        proposed=robotics_pb2.Action.ValueType(replaced or 0),
        envelope_rule=event.rule or "",
        decision_ms=event.decision_ms,
    )
    return robotics_pb2.DriveResponse(command=command)
