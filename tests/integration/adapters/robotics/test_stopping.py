import asyncio
from typing import Any

import pytest
from google.protobuf import duration_pb2
from tests.scripted.inference import words

from seodang.api.robotics.v1 import robotics_pb2 as pb
from seodang.base.errors import AlreadyExists, Conflict, NotFound, Unavailable


async def test_an_emergency_stop_halts_a_waiting_robot_at_once(mesh: Any, free_room: Any) -> None:
    side = mesh.robot()
    await side.start()
    await side.see(free_room)
    answer = await mesh.client.robotics.EmergencyStop(pb.EmergencyStopRequest(session="s1", reason="smoke"))
    assert answer.stopped_sessions == 1
    command, ended = (await side.read()).command, (await side.read()).ended
    assert (command.action, command.envelope_rule) == (pb.ACTION_HOLD, "emergency_stop")
    assert ended.outcome == pb.MissionEnded.OUTCOME_STOPPED


async def test_an_emergency_stop_does_not_wait_for_a_thinking_student(mesh: Any, free_room: Any) -> None:
    mesh.student.pace.hold()
    side = mesh.robot()
    await side.start()
    await side.send(free_room)
    while not mesh.student.running:
        await asyncio.sleep(0.01)
    await mesh.client.robotics.EmergencyStop(pb.EmergencyStopRequest())
    assert (await side.read()).command.action == pb.ACTION_HOLD
    assert (await side.read()).ended.outcome == pb.MissionEnded.OUTCOME_STOPPED
    while mesh.student.running:
        await asyncio.sleep(0.01)
    assert mesh.student.cancelled == 1


async def test_a_stopped_session_starts_again_only_after_its_release(start_mesh: Any, free_room: Any) -> None:
    async with start_mesh() as mesh:
        await mesh.client.robotics.EmergencyStop(pb.EmergencyStopRequest(session="s1", reason="smoke"))
    async with start_mesh() as mesh:
        side = mesh.robot()
        await side.start()
        with pytest.raises(Conflict, match="smoke"):
            await side.read()
        await mesh.client.robotics.ReleaseStop(pb.ReleaseStopRequest(session="s1"))
        side = mesh.robot()
        await side.start()
        assert (await side.see(free_room)).HasField("command")


async def test_releasing_a_stop_that_is_not_latched_is_not_found(mesh: Any) -> None:
    with pytest.raises(NotFound, match="no stop is latched"):
        await mesh.client.robotics.ReleaseStop(pb.ReleaseStopRequest(session="s9"))


async def test_two_robots_cannot_share_a_session(mesh: Any, free_room: Any) -> None:
    first, second = mesh.robot(), mesh.robot()
    await first.start()
    await first.see(free_room)
    await second.start()
    with pytest.raises(AlreadyExists, match="'s1'"):
        await second.read()


async def test_a_robot_that_falls_silent_is_told_to_hold_and_the_mission_ends(start_mesh: Any, free_room: Any) -> None:
    async with start_mesh(observation_timeout_s=0.2) as mesh:
        side = mesh.robot()
        await side.start()
        await side.see(free_room)
        command, ended = (await side.read()).command, (await side.read()).ended
        assert (command.action, command.envelope_rule) == (pb.ACTION_HOLD, "watchdog")
        assert ended.outcome == pb.MissionEnded.OUTCOME_STOPPED


async def test_a_stale_observation_is_answered_with_hold_and_without_the_student(mesh: Any, free_room: Any) -> None:
    side = mesh.robot()
    await side.start(envelope=pb.Envelope(max_observation_age=duration_pb2.Duration(nanos=500_000_000)))
    command = (await side.see(free_room, age=duration_pb2.Duration(seconds=1))).command
    assert (command.action, command.envelope_rule) == (pb.ACTION_HOLD, "stale_observation")
    assert mesh.student.requests == []


async def test_a_decision_that_takes_too_long_is_answered_with_hold(start_mesh: Any, free_room: Any) -> None:
    async with start_mesh(max_observation_age_s=0.2) as mesh:
        mesh.student.pace.hold()
        side = mesh.robot()
        await side.start()
        command = (await side.see(free_room)).command
        assert (command.action, command.envelope_rule) == (pb.ACTION_HOLD, "decision_late")
        mesh.student.pace.release()
        mesh.student.answer = lambda request: words("left")
        assert (await side.see(free_room)).command.action == pb.ACTION_TURN_LEFT


async def test_a_student_that_is_away_means_hold_and_at_last_a_fault(start_mesh: Any, free_room: Any) -> None:
    async with start_mesh(failures_before_fault=3) as mesh:
        mesh.student.refusal = Unavailable("restarting")
        side = mesh.robot()
        await side.start()
        for _ in range(2):
            command = (await side.see(free_room)).command
            assert (command.action, command.envelope_rule) == (pb.ACTION_HOLD, "no_decision")
        fault = (await side.see(free_room)).fault
        assert "3 times in a row: restarting" in fault.message
        assert fault.reason == "UNAVAILABLE"


async def test_a_robot_that_goes_away_frees_its_session(mesh: Any, free_room: Any) -> None:
    side = mesh.robot()
    await side.start()
    await side.see(free_room)
    side.call.cancel()
    for _ in range(200):
        again = mesh.robot()
        await again.start()
        try:
            assert (await again.see(free_room)).HasField("command")
            return
        except AlreadyExists:
            await asyncio.sleep(0.02)
    raise AssertionError("the session was never freed")
