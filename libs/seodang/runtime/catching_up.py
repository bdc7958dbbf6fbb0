"""What a drafter pays before its first guess: it reads each prompt, too."""

from typing import Final

REMEMBERED_TOKENS: Final = 8192
"""Of answers; then what came before counts half, so that other prompts than before are soon noticed."""


class CatchingUp:
    """Spreads that cost over the tokens of the answers, where it belongs."""

    def __init__(self) -> None:
        self._read_tokens, self._read_s = 0.0, 0.0
        self._prompt_tokens, self._answer_tokens = 0.0, 0.0

    @property
    def seconds_per_token(self) -> float:
        """Of an answer; 0 until something is known."""
        if not self._read_tokens or not self._answer_tokens:
            return 0.0
        return self._read_s / self._read_tokens * self._prompt_tokens / self._answer_tokens

    def note_reading(self, tokens: int, seconds: float) -> None:
        """So many tokens that others had computed before were read."""
        self._read_tokens += tokens
        self._read_s += seconds

    def note_end(self, prompt_tokens: int, answer_tokens: int) -> None:
        """An answer has ended."""
        self._prompt_tokens += prompt_tokens
        self._answer_tokens += answer_tokens
        if self._answer_tokens > REMEMBERED_TOKENS:
            self._prompt_tokens /= 2
            self._answer_tokens /= 2
            self._read_tokens /= 2
            self._read_s /= 2
