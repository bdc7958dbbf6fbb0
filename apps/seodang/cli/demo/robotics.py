"""The robotics errand: a student drives a robot through a room it never saw, inside the service's safety envelope."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

from seodang.api.robotics.v1 import robotics_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.cli.demo.errand import Errand
from seodang.client import AsyncClient
from seodang.corpora.babyai import Episode
from seodang.rpc import from_fault
from seodang.tasks.robot import Action

# The contract's number of an action is one more than minigrid's; HOLD is none of minigrid's.
_OFFSET = 1


async def ask_robotics(robotics: AsyncClient, model: str, level: str, seed: int, language: str) -> Errand:
    """Drives one BabyAI mission to its end."""
    began_s = time.monotonic()
    episode = await asyncio.to_thread(Episode, level, seed, language)
    observations: asyncio.Queue[robotics_pb2.DriveRequest] = asyncio.Queue()
    start = robotics_pb2.Start(session=f"demo-{uuid.uuid4().hex[:8]}", mission=episode.mission, model=model)
    observations.put_nowait(robotics_pb2.DriveRequest(start=start))
    observations.put_nowait(_observe(episode, 0, robotics_pb2.ACTION_UNSPECIFIED))
    ended = robotics_pb2.MissionEnded()
    async for response in robotics.robotics.Drive(_sent(observations), timeout=120):
        if response.HasField("fault"):
            raise from_fault(response.fault)
        if response.HasField("ended"):
            ended = response.ended
            break
        command = response.command
        if command.action != robotics_pb2.ACTION_HOLD:
            episode.step(Action(command.action - _OFFSET))
        observations.put_nowait(_observe(episode, command.sequence + 1, command.action))
    return Errand(
        adapter="robotics",
        model=model,
        asked=f"{episode.mission} ({level}, room {seed})",
        answered="mission accomplished" if episode.success else "mission not accomplished",
        worked=episode.success,
        seconds=time.monotonic() - began_s,
        detail=f"{ended.actions} actions, {ended.interventions} refused by the safety envelope",
    )


async def _sent(observations: "asyncio.Queue[robotics_pb2.DriveRequest]") -> AsyncIterator[robotics_pb2.DriveRequest]:
    while True:
        yield await observations.get()


def _observe(episode: Episode, sequence: int, executed: robotics_pb2.Action.ValueType) -> robotics_pb2.DriveRequest:
    image = episode.image
    view = tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_UINT8, shape=image.shape, data=image.tobytes())
    observation = robotics_pb2.Observation(
        sequence=sequence, view=view, direction=episode.direction, executed=executed, mission_over=episode.over
    )
    return robotics_pb2.DriveRequest(observation=observation)
