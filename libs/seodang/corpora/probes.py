"""Where things are in a room: questions whose answers stand in the scene, to be asked after a mission in training.

One action word says little about a scene that was read to find it. A model that must also say where the mission's
object is, and where other things are, learns to look things up long before it would from actions alone.
"""

import itertools
import random
import re
from functools import cache

from seodang.tasks import Example
from seodang.tasks.robot import UnknownMission, to_korean

Turn = tuple[str, str]
"""What the user asks, what the assistant answers."""
_THINGS_ASKED = 2
_MISSION = re.compile(r"(?:go to|pick up) (?:the|a)(?: (\w+))? (ball|box|key|object)(?: (.+))?")
_SIDES = {"on your left": "l", "on your right": "r", "in front of you": "f", "behind you": "b"}
_COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")


def probes(example: Example, rng: random.Random) -> list[Turn]:
    """Where the mission's object is, or that it is unseen; then where some other things are."""
    scene, mission = example.messages[-1].content.split("\n")
    listed = [part for part in scene.split(";")[0].split(", ") if "@" in part]
    things = [(part.split(" ")[:2], part.split(" @")[0].split(" ", 2)[2], part.split("@")[1]) for part in listed]
    match = _MISSION.fullmatch(_english_missions()[mission])
    assert match is not None, mission
    colour, kind, place = match.groups()
    fitting = [
        f"{name[0]} {name[1]} {offset}"
        for name, offset, side in things
        if (colour in (None, name[0])) and kind in ("object", name[1]) and (place is None or _SIDES[place] in side)
    ]
    turns = [("? target", fitting[0] if fitting else "unseen")]
    for name, _, _ in rng.sample(things, min(_THINGS_ASKED, len(things))):
        first = next(offset for other, offset, _ in things if other == name)
        turns.append((f"? {name[0]} {name[1]}", first))
    return turns


@cache
def _english_missions() -> dict[str, str]:
    """Every single-object mission by its Korean and by its English form."""
    found: dict[str, str] = {}
    words = itertools.product(
        ("go to", "pick up"), ("the", "a"), ("", *_COLOURS), ("ball", "box", "key", "object"), ("", *_SIDES)
    )
    for verb, article, colour, kind, place in words:
        english = " ".join(word for word in (verb, article, colour, kind, place) if word)
        found[english] = english
        try:
            found[to_korean(english)] = english
        except UnknownMission as error:
            raise AssertionError(f"the grammar above has left the missions: {error}") from error
    return found
