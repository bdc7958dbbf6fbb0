"""Let a student drive a robot through a BabyAI room: the room is here, the student and its safety envelope are not.

    python examples/drive_robot.py --level GoToLocal --seed 7 --language ko

The room is minigrid's. Every command passes the envelope of the robotics service before it arrives here.
"""

import argparse
import contextlib
import io
import uuid
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import gymnasium
import minigrid  # noqa: F401  (registers the BabyAI rooms)

from seodang.api.robotics.v1 import robotics_pb2 as pb
from seodang.api.types.v1 import tensor_pb2
from seodang.base import ports
from seodang.client import Client
from seodang.tasks.robot import to_korean

# The contract's number for each of minigrid's actions is one more; HOLD is none of minigrid's.
MINIGRID_OFFSET = 1


def observe(sequence: int, seen: dict[str, Any], executed: pb.Action.ValueType, over: bool) -> pb.DriveRequest:
    """What the room shows, as the contract has it."""
    view = tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_UINT8, shape=[7, 7, 3], data=seen["image"].tobytes())
    observation = pb.Observation(
        sequence=sequence, view=view, direction=int(seen["direction"]), executed=executed, mission_over=over
    )
    return pb.DriveRequest(observation=observation)


def drive(client: Client, env: Any, start: pb.Start, seen: dict[str, Any]) -> Iterator[tuple[pb.Command, float]]:
    """Every command of one mission, with the reward that carrying it out brought."""
    requests: SimpleQueue[pb.DriveRequest | None] = SimpleQueue()
    responses = client.robotics.Drive(iter(requests.get, None), timeout=300)
    requests.put(pb.DriveRequest(start=start))
    requests.put(observe(0, seen, pb.ACTION_UNSPECIFIED, over=False))
    for response in responses:
        if response.HasField("fault"):
            raise SystemExit(f"the mission failed: {response.fault.message}")
        if response.HasField("ended"):
            print(pb.MissionEnded.Outcome.Name(response.ended.outcome), f"after {response.ended.actions} actions")
            break
        command, reward, over = response.command, 0.0, False
        if command.action != pb.ACTION_HOLD:
            seen, reward, terminated, truncated, _ = env.step(command.action - MINIGRID_OFFSET)
            over = terminated or truncated
        yield command, float(reward)
        requests.put(observe(command.sequence + 1, seen, command.action, over))
    requests.put(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=ports.local(ports.ROBOTICS), help="host:port of the robotics service")
    parser.add_argument("--level", default="GoToLocal", help="a BabyAI level, such as GoToLocal or PickupLoc")
    parser.add_argument("--seed", type=int, default=0, help="which room")
    parser.add_argument("--language", choices=("en", "ko"), default="en", help="of the mission")
    parser.add_argument("--model", default="", help="the student; empty takes the service's own")
    arguments = parser.parse_args()

    env = gymnasium.make(f"BabyAI-{arguments.level}-v0")
    with contextlib.redirect_stdout(io.StringIO()):  # minigrid prints when it rejects a sampled room
        seen, _ = env.reset(seed=arguments.seed)
    mission = seen["mission"] if arguments.language == "en" else to_korean(seen["mission"])
    print(f"mission: {mission}")
    start = pb.Start(session=f"example-{uuid.uuid4().hex[:8]}", mission=mission, model=arguments.model)
    accomplished = False
    with Client(arguments.address) as client:
        for command, reward in drive(client, env, start, seen):
            because = f"  ({command.envelope_rule})" if command.envelope_rule else ""
            accomplished = reward > 0
            print(f"{command.sequence:3} {pb.Action.Name(command.action)[7:].lower():10}{because}")
    print("mission accomplished" if accomplished else "mission not accomplished")


if __name__ == "__main__":
    main()
