from itertools import islice

import numpy as np
import pytest
from minigrid.core.constants import DIR_TO_VEC

from seodang.base.errors import InvalidInput
from seodang.corpora.babyai import Episode, Expert
from seodang.tasks import InvalidAnswer
from seodang.tasks.robot import Action, RobotRequest, SceneMemory, UnknownMission, messages, parse, render, to_korean

EMPTY, WALL, BALL, KEY = (1, 0, 0), (2, 5, 0), (6, 0, 0), (5, 4, 0)


def view(**cells: tuple[int, int, int]) -> np.ndarray:
    """A 7x7 view of free floor; ``c3r5=BALL`` puts a ball at column 3, row 5: right ahead."""
    image = np.tile(np.array(EMPTY, dtype=np.uint8), (7, 7, 1))
    for place, code in cells.items():
        image[int(place[1]), int(place[3])] = code
    return image


def test_every_action_survives_being_written_and_read() -> None:
    assert [parse(render(action)) for action in Action] == list(Action)


@pytest.mark.parametrize("text", ["", "jump", "LEFT", "left right", "0"])
def test_a_word_that_is_no_action_is_refused(text: str) -> None:
    with pytest.raises(InvalidAnswer):
        parse(text)


def test_the_request_is_the_scene_and_then_the_mission() -> None:
    assert messages(RobotRequest("go to the red ball", "free f"))[-1].content == "free f\ngo to the red ball"


def test_things_are_told_by_distance_with_their_place_now_and_their_side_at_the_start() -> None:
    memory = SceneMemory()
    memory.observe(view(c1r4=BALL, c3r5=KEY))
    assert memory.describe().startswith("yellow key f1 @f, red ball f2 l2 @lf")


def test_turning_changes_the_place_now_and_not_the_side_at_the_start() -> None:
    memory = SceneMemory()
    memory.observe(view(c3r4=BALL))
    memory.observe(np.zeros((7, 7, 3), np.uint8), Action.RIGHT)
    assert memory.describe().startswith("red ball l2 @f")
    assert memory.describe().endswith("last right")


def test_a_blocked_step_does_not_move_the_robot() -> None:
    memory = SceneMemory()
    memory.observe(view(c3r5=BALL))
    assert memory.blocked_ahead()
    memory.observe(view(c3r5=BALL), Action.FORWARD)
    assert memory.describe().startswith("red ball f1 @f")


def test_a_carried_thing_is_held_and_no_longer_in_the_room() -> None:
    memory = SceneMemory()
    memory.observe(view(c3r5=BALL))
    memory.observe(view(c3r6=BALL), Action.PICKUP)
    assert "hold red ball" in memory.describe()
    assert "@" not in memory.describe()


@pytest.mark.parametrize("image", [np.zeros((7, 7), np.uint8), np.full((7, 7, 3), 99, np.uint8)])
def test_a_view_that_minigrid_cannot_send_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        SceneMemory().observe(image)


@pytest.mark.parametrize("seed", range(4))
def test_dead_reckoning_agrees_with_the_room(seed: int) -> None:
    episode = Episode("PickupLoc", seed, "en")
    room, expert = episode.env.unwrapped, Expert(episode.env)
    start, heading = np.array(room.agent_pos), room.agent_dir
    ahead = DIR_TO_VEC[heading]
    right = np.array([-ahead[1], ahead[0]])
    while not episode.over:
        things = {
            (int((np.array(place) - start) @ right), int((np.array(place) - start) @ ahead))
            for place in np.ndindex(room.width, room.height)
            if room.grid.get(*place) is not None and room.grid.get(*place).type in ("ball", "box", "key")
        }
        assert set(episode.memory._things) <= things
        episode.step(expert.replan())
    moved = np.array(room.agent_pos) - start
    assert (episode.memory._x, episode.memory._y) == (moved @ right, moved @ ahead)
    assert episode.success


def test_missions_that_differ_in_english_differ_in_korean() -> None:
    english = [
        f"{verb} {article} {thing}{place}"
        for verb in ("go to", "pick up", "open")
        for article in ("a", "the")
        for thing in ("red ball", "grey box", "key", "object", "blue door")
        for place in ("", " on your left", " on your right", " in front of you", " behind you")
    ]
    assert len({to_korean(mission) for mission in english}) == len(english)


def test_particles_follow_the_last_sound() -> None:
    assert to_korean("go to the red ball") == "그 빨간 공으로 가"
    assert to_korean("pick up a key behind you") == "뒤에 있는 아무 열쇠를 집어"


@pytest.mark.parametrize("mission", ["", "put the ball next to the box", "go to the red ball, then pick up a key"])
def test_missions_outside_the_grammar_are_refused(mission: str) -> None:
    with pytest.raises(UnknownMission):
        to_korean(mission)


def test_all_missions_of_the_levels_have_a_korean_form() -> None:
    seeds = islice(range(50), 20)
    assert all(Episode("PickupLoc", seed, "ko").mission for seed in seeds)
