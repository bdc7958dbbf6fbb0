"""The student as a driver: what the robot has seen becomes a prompt, the student's word becomes an action."""

import numpy as np
from numpy.typing import NDArray

from seodang.adapters.robotics.domain import FROM_MODEL, TO_MODEL, Action, Observation
from seodang.adapters.robotics.envelope import objection
from seodang.api.inference.v1 import generate_pb2
from seodang.capture import OnAnswer
from seodang.client import AsyncClient, chat, complete_async
from seodang.tasks import robot

# The longest action word is a few tokens of any tokenizer; a student that has not stopped by then says no action.
_MAX_NEW_TOKENS = 12


class StudentPolicy:
    """Drives one mission. The memory of the room lives here; the student keeps none."""

    def __init__(self, student: AsyncClient, model: str, mission: str, on_answer: OnAnswer | None = None) -> None:
        self._student = student
        self._on_answer = on_answer
        self._model = model
        self._mission = mission
        self._memory = robot.SceneMemory()
        self._view: NDArray[np.uint8] | None = None

    def observe(self, observation: Observation) -> None:
        """Takes in a view and the action that led to it."""
        executed = observation.executed
        moved = TO_MODEL[executed] if executed is not None and executed is not Action.HOLD else None
        self._memory.observe(observation.view, moved)
        self._view = observation.view

    async def decide(self, timeout_s: float) -> Action:
        """What the student wants to do now.

        Raises:
            InvalidAnswer: its text is no action.
            SeodangError: it could not be asked, or did not answer in time.
        """
        request = robot.RobotRequest(self._mission, self._memory.describe())
        turns = chat((message.role.value, message.content) for message in robot.messages(request))
        generate = generate_pb2.GenerateRequest(
            model=self._model,
            prompt=turns,
            sampling=generate_pb2.Sampling(temperature=0),
            constraint=generate_pb2.Constraint(choice=generate_pb2.Constraint.Choice(options=self._possible())),
            max_new_tokens=_MAX_NEW_TOKENS,
        )
        completion = await complete_async(self._student, generate, timeout_s)
        if self._on_answer is not None:
            self._on_answer(generate, completion.model, completion.text)
        return FROM_MODEL[robot.parse(completion.text)]

    def _possible(self) -> list[str]:
        """The words of the actions that can succeed now. The envelope judges the answer all the same."""
        assert self._view is not None, "the mission decides after it has observed"
        return [robot.render(word) for word, action in FROM_MODEL.items() if objection(action, self._view) is None]
