"""Robot: a mission in a BabyAI room, driven step by step, with the room's picture."""

from dataclasses import dataclass, field
from typing import Any, Final

import streamlit as st

from seodang.client import complete
from seodang.console import failures, figures
from seodang.console.asking import prompt_of
from seodang.console.controls import Sampling
from seodang.console.servers import Held, Mesh
from seodang.corpora.babyai import LANGUAGES, LEVELS, Episode
from seodang.tasks import InvalidAnswer, robot

_TILE_PIXELS: Final = 24
_ENLARGE: Final = 3  # the room is drawn pixel by pixel in Python, so it is drawn small and enlarged
_MOST_STEPS: Final = 64
_ACTION_TOKENS: Final = 8


@dataclass
class Run:
    """A mission on its way."""

    episode: Episode
    taken: list[str] = field(default_factory=list)

    def picture(self) -> Any:
        """The room from above, what the robot sees lit: uint8 [height, width, 3]."""
        small = self.episode.env.unwrapped.get_frame(highlight=True, tile_size=_TILE_PIXELS)
        return small.repeat(_ENLARGE, axis=0).repeat(_ENLARGE, axis=1)


def show(mesh: Mesh, model: Held, how: Sampling) -> None:
    """Draws the room, and drives when asked to."""
    level, language, seed = _mission()
    key = f"robot {level} {language} {seed}"
    if key not in st.session_state:
        st.session_state[key] = Run(Episode(level, seed, language))
    run: Run = st.session_state[key]
    picture, told = st.columns([2, 3], gap="large")
    frame, log = picture.empty(), told.container()
    with told.container(horizontal=True):
        steps = int(st.button("Step", icon=":material/arrow_forward:", disabled=run.episode.over))
        steps = (
            _MOST_STEPS
            if st.button("Drive", icon=":material/play_arrow:", type="primary", disabled=run.episode.over)
            else steps
        )
        if st.button("Start over", icon=":material/replay:"):
            del st.session_state[key]
            st.rerun()
    place = log.empty()
    _draw(run, frame, place)
    with told, failures.shown(model.server):
        for _ in range(steps):
            if run.episode.over or not _step(mesh, model, how, run):
                break
            _draw(run, frame, place)
    if run.episode.over:
        _draw(run, frame, place)


def _mission() -> tuple[str, str, int]:
    level, language, seed = st.columns(3)
    return (
        str(level.selectbox("Level", LEVELS)),
        str(language.selectbox("Language", LANGUAGES, index=LANGUAGES.index("ko"))),
        int(seed.number_input("Room", 0, value=7)),
    )


def _step(mesh: Mesh, model: Held, how: Sampling, run: Run) -> bool:
    """Asks for one action and does it; False if the answer was no action."""
    prompt = prompt_of(robot.messages(run.episode.request()))
    request = how.request(model.model.name, prompt)
    request.max_new_tokens = _ACTION_TOKENS
    try:
        action = robot.parse(complete(model.server.client, request, mesh.settings.answer_timeout_s).text)
    except InvalidAnswer as error:
        st.warning(f"This is no action, so the robot stands still: `{error.message}`", icon=":material/help:")
        return False
    run.episode.step(action)
    run.taken.append(robot.render(action))
    return True


def _draw(run: Run, frame: Any, place: Any) -> None:
    frame.image(run.picture(), width="stretch")
    with place.container():
        st.markdown(f"**{run.episode.mission}**")
        if run.episode.success:
            st.success(f"Done in {figures.steps(run.episode.steps)}.", icon=":material/flag:")
        elif run.episode.over:
            st.error(f"Not done after {figures.steps(run.episode.steps)}.", icon=":material/timer_off:")
        st.caption("What the model reads")
        st.code(run.episode.memory.describe(), language=None, wrap_lines=True)
        if run.taken:
            st.caption(f"Steps: {' · '.join(run.taken)}")
