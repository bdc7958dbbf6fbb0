"""How far ahead to draft: as far as pays. That depends on both models, the machine, how many sequences share a step,
and how well the draft guesses; all of it is in one measured figure, tokens a second.
"""

from statistics import median
from typing import Final

TRIAL_STEPS: Final = 6
"""Steps of each of two depths after which they are compared. They take turns, so that both meet the same machine."""
FEW_STEPS: Final = 3
"""The same where every step of the new depth was slower than every step of the old one, by a tenth or more."""
FIRST_WAIT: Final = 128
"""Steps from one round of trials to the next; doubled whenever a round changes nothing."""
LAST_WAIT: Final = 16_384


class Pace:
    """Chooses among ``depths``, which rise, for one range of batch sizes: the best so far is tried against its
    neighbours.
    """

    def __init__(self, depths: tuple[int, ...]) -> None:
        self._depths = depths
        self._best = 0
        self._wait = FIRST_WAIT // 2
        self._left = 0
        self._rivals: list[int] = []
        self._trial: dict[int, list[tuple[int, float]]] = {}
        self._start_round()

    def choose(self) -> int:
        """Tokens to draft in the next step."""
        if not self._rivals:
            return self._depths[self._best]
        return min(self._trial, key=lambda depth: len(self._trial[depth]))

    def note(self, depth: int, tokens: int, seconds: float) -> None:
        """A step at ``depth`` gave so many tokens in so many seconds."""
        if not self._rivals:
            self._left -= 1
            if self._left <= 0:
                self._start_round()
            return
        self._trial[depth].append((tokens, seconds))
        steps = min(map(len, self._trial.values()))
        if steps >= TRIAL_STEPS or (steps >= FEW_STEPS and self._is_hopeless()):
            self._judge()

    def _start_round(self) -> None:
        self._rivals = [index for index in (self._best - 1, self._best + 1) if 0 <= index < len(self._depths)]
        self._start_trial()

    def _start_trial(self) -> None:
        self._trial = {self._depths[index]: [] for index in (self._best, *self._rivals[:1])}

    def _is_hopeless(self) -> bool:
        steps = (self._trial[self._depths[index]] for index in (self._best, self._rivals[0]))
        best, rival = ([tokens / seconds for tokens, seconds in each] for each in steps)
        return max(rival) < 0.9 * min(best)

    def _judge(self) -> None:
        rival = self._rivals.pop(0)
        if _rate(self._trial[self._depths[rival]]) > _rate(self._trial[self._depths[self._best]]):
            beyond = 2 * rival - self._best
            self._rivals = [beyond] if 0 <= beyond < len(self._depths) else []
            self._best = rival
            self._wait = FIRST_WAIT // 2
        if not self._rivals:
            self._left = self._wait = min(2 * self._wait, LAST_WAIT)
        self._start_trial()


def _rate(steps: list[tuple[int, float]]) -> float:
    """Tokens a second. By the median of the seconds: one step that was disturbed must not decide."""
    return sum(tokens for tokens, _ in steps) / len(steps) / median(seconds for _, seconds in steps)
