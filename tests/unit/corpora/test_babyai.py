import itertools
import random
from collections.abc import Sequence

import pytest

from seodang.corpora.babyai import Episode, Expert, ExpertStuck, _other_mission, _Pose, conversations, drive
from seodang.tasks.robot import Action, RobotRequest


def test_the_expert_accomplishes_its_missions() -> None:
    for seed in range(5):
        episode = Episode("GoToLocal", seed, "ko")
        expert = Expert(episode.env)
        while not episode.over:
            episode.step(expert.replan())
        assert episode.success


def test_an_expert_that_cannot_settle_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    episode = Episode("GoToLocal", 0, "en")
    expert = Expert(episode.env)
    monkeypatch.setattr(type(expert.stack[-1]), "replan_before_action", lambda subgoal: None)
    with pytest.raises(ExpertStuck):
        expert.replan()


def test_a_policy_that_only_turns_ends_every_episode_without_success() -> None:
    asked: list[int] = []

    def turn(requests: Sequence[RobotRequest]) -> list[Action]:
        asked.append(len(requests))
        return [Action.LEFT] * len(requests)

    result = drive("PickupLoc", range(3), turn, "en")
    assert (result.episodes, result.successes) == (3, 0)
    assert asked[0] == 3
    assert len(asked) == result.mean_steps


def test_other_missions_leave_the_room_as_it_was() -> None:
    episode = Episode("PickupLoc", 3, "en")
    room, expert = episode.env.unwrapped, Expert(episode.env)
    expert.replan()
    before = (tuple(room.agent_pos), room.agent_dir, room.instrs, room.grid.encode().tolist())
    start, rng = _Pose(tuple(room.agent_pos), room.agent_dir), random.Random(0)
    asked = [_other_mission(episode, expert, start, "en", rng) for _ in range(10)]
    assert len(set(asked)) > 3
    assert (tuple(room.agent_pos), room.agent_dir, room.instrs, room.grid.encode().tolist()) == before


def test_all_missions_of_a_conversation_are_asked_in_the_same_scene() -> None:
    for conversation in itertools.islice(conversations("ko", "train", seed=0, other_missions=3), 30):
        assert len({example.messages[-1].content.split("\n")[0] for example in conversation}) == 1
