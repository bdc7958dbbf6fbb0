"""What one request through one adapter asked, and what came back."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Errand:
    """A real request that was really answered."""

    adapter: str
    model: str
    asked: str
    answered: str
    worked: bool
    """Whether the answer was usable: a valid call, a checked citation, a mission accomplished."""
    seconds: float
    detail: str = ""
