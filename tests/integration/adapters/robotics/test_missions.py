import itertools
import json
import random
from typing import Any

import numpy as np
import pytest
from tests.scripted.inference import words

from seodang.api.robotics.v1 import robotics_pb2 as pb
from seodang.corpora.babyai import Expert
from seodang.tasks import robot


async def drive(
    robot_side: Any, env: Any, seen: dict[str, Any], after_step: Any = None
) -> tuple[pb.MissionEnded, float]:
    """Lets the service drive a room to the end; returns how it ended and the last reward."""
    reward, over = 0.0, False
    while True:
        response = await robot_side.see(seen["image"], direction=int(seen["direction"]), mission_over=over)
        if response.HasField("ended"):
            return response.ended, reward
        action = response.command.action
        if action != pb.ACTION_HOLD:
            seen, reward, terminated, truncated, _ = env.step(action - 1)
            over = terminated or truncated
        if after_step:
            after_step(action)


@pytest.mark.parametrize(("level", "seed"), [("GoToLocal", 3), ("PickupLoc", 5), ("UnlockLocal", 2)])
async def test_an_expert_student_accomplishes_a_mission(mesh: Any, make_room: Any, level: str, seed: int) -> None:
    env, seen = make_room(f"BabyAI-{level}-v0", seed)
    expert, taken = Expert(env), None

    def answer(request: Any) -> Any:
        return words(robot.render(expert.replan(taken)))

    def remember(action: int) -> None:
        nonlocal taken
        taken = robot.Action(action - 1)

    mesh.student.answer = answer
    robot_side = mesh.robot()
    await robot_side.start(mission=seen["mission"])
    ended, reward = await drive(robot_side, env, seen, remember)
    assert reward > 0
    assert ended.outcome == pb.MissionEnded.OUTCOME_MISSION_OVER
    assert ended.actions == len(robot_side.commands)
    assert ended.interventions == 0


async def test_the_student_is_asked_about_the_mission_and_what_was_seen_so_far(mesh: Any, free_room: Any) -> None:
    mesh.student.answer = lambda request: words("left")
    side = mesh.robot()
    await side.start(mission="그 빨간 공으로 가")
    free_room[3, 4] = (6, 0, 0)
    await side.see(free_room)
    await side.see(np.tile(np.array((1, 0, 0), np.uint8), (7, 7, 1)))
    first, second = (request.prompt.chat.messages[-1].content for request in mesh.student.requests)
    assert first.startswith("red ball f2 @f")
    assert first.endswith("\n그 빨간 공으로 가")
    assert "last left" in second
    assert mesh.student.requests[0].model == "models/robot"
    assert mesh.student.requests[0].sampling.temperature == 0


async def test_the_student_is_offered_only_actions_that_can_succeed(mesh: Any, free_room: Any) -> None:
    mesh.student.answer = lambda request: words("left")
    side = mesh.robot()
    await side.start(mission="go to the red ball")
    await side.see(free_room)
    await side.see(np.tile(np.array((2, 5, 0), np.uint8), (7, 7, 1)))
    free, walled = (set(request.constraint.choice.options) for request in mesh.student.requests)
    assert free == {"left", "right", "forward", "done"}
    assert walled == {"left", "right", "done"}


@pytest.mark.parametrize("room", ["MiniGrid-LavaCrossingS9N2-v0", "BabyAI-BossLevel-v0"])
async def test_a_student_that_says_anything_never_gets_an_unsafe_action_through(
    mesh: Any, make_room: Any, room: str
) -> None:
    rng = random.Random(11)
    sayings = [
        *map(robot.render, robot.Action),
        "forward",
        "forward",
        "jump",
        "",
        "FORWARD",
        '{"a":1}',
        "앞으로",
        "hold",
    ]
    mesh.student.answer = lambda request: words(rng.choice(sayings))
    env, seen = make_room(room, 4)
    mission = seen["mission"]
    side = mesh.robot()
    await side.start(mission=mission, envelope=pb.Envelope(max_actions=250))
    pose, last, dead = tuple(env.unwrapped.agent_pos), pb.ACTION_HOLD, False
    for _ in range(250):
        moved = tuple(env.unwrapped.agent_pos) != pose
        assert moved == (last == pb.ACTION_FORWARD)
        pose = tuple(env.unwrapped.agent_pos)
        response = await side.see(seen["image"], direction=int(seen["direction"]))
        last = response.command.action
        if last != pb.ACTION_HOLD:
            seen, reward, terminated, _, _ = env.step(last - 1)
            dead = terminated and reward == 0
            if terminated:
                break
    assert not dead
    assert {command.envelope_rule for command in side.commands} > {"", "forward_blocked", "invalid_answer"}


async def test_what_the_model_wanted_and_the_rule_that_refused_it_are_told(mesh: Any, free_room: Any) -> None:
    mesh.student.answer = lambda request: words("forward")
    free_room[3, 5] = (2, 5, 0)
    side = mesh.robot()
    await side.start()
    command = (await side.see(free_room)).command
    assert (command.action, command.proposed) == (pb.ACTION_HOLD, pb.ACTION_FORWARD)
    assert command.envelope_rule == "forward_blocked"


async def test_every_decision_is_in_the_log_before_the_next(mesh: Any, free_room: Any) -> None:
    mesh.student.answer = lambda request: words("pickup")
    side = mesh.robot()
    await side.start(mission="집어")
    await side.see(free_room)
    start, command = map(json.loads, mesh.log().splitlines())
    assert (start["event"], start["mission"], start["model"]) == ("start", "집어", "models/robot")
    assert (command["action"], command["proposed"], command["rule"]) == ("HOLD", "PICK_UP", "nothing_to_pick_up")
    assert bytes.fromhex(command["view"]) == free_room.tobytes()


async def test_a_second_mission_of_a_session_is_appended_to_its_log(mesh: Any, free_room: Any) -> None:
    for _ in range(2):
        side = mesh.robot()
        await side.start()
        await side.see(free_room, mission_over=True)
    assert [json.loads(line)["event"] for line in mesh.log().splitlines()] == ["start", "ended"] * 2


async def test_a_mission_ends_when_its_actions_are_spent(mesh: Any, free_room: Any) -> None:
    mesh.student.answer = lambda request: words("left")
    side = mesh.robot()
    await side.start(envelope=pb.Envelope(max_actions=2))
    assert (await side.see(free_room)).HasField("command")
    assert (await side.see(free_room)).HasField("command")
    ended = (await side.see(free_room)).ended
    assert (ended.outcome, ended.actions) == (pb.MissionEnded.OUTCOME_OUT_OF_ACTIONS, 2)


async def test_a_request_cannot_widen_the_servers_limits(start_mesh: Any, free_room: Any) -> None:
    async with start_mesh(max_actions=1) as mesh:
        side = mesh.robot()
        await side.start(envelope=pb.Envelope(max_actions=1000))
        await side.see(free_room)
        assert (await side.see(free_room)).ended.outcome == pb.MissionEnded.OUTCOME_OUT_OF_ACTIONS


async def test_an_action_outside_the_allowed_ones_is_not_taken(mesh: Any, free_room: Any) -> None:
    mesh.student.answer = lambda request: words("right")
    side = mesh.robot()
    await side.start(envelope=pb.Envelope(allowed=[pb.ACTION_FORWARD, pb.ACTION_TURN_LEFT]))
    commands = [(await side.see(free_room)).command for _ in range(3)]
    assert {command.action for command in commands} == {pb.ACTION_HOLD}
    assert {command.envelope_rule for command in commands} == {"not_allowed"}


async def test_commands_come_no_faster_than_the_robot_may_be_told(start_mesh: Any, free_room: Any) -> None:
    async with start_mesh(max_actions_per_s=20) as mesh:
        mesh.student.answer = lambda request: words("left")
        side = mesh.robot()
        await side.start()
        for _ in range(4):
            await side.see(free_room)
        times = [json.loads(line)["time"] for line in mesh.log().splitlines()[1:]]
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.045
