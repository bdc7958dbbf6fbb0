"""Settings of the console."""

from pydantic import Field

from seodang.base import ports
from seodang.base.settings import Settings, settings_config


class ConsoleSettings(Settings):
    """Read from ``SEODANG_CONSOLE_*``."""

    model_config = settings_config("SEODANG_CONSOLE_")

    host: str = "127.0.0.1"
    port: int = Field(default=ports.CONSOLE, ge=1, le=65535)
    teacher_address: str = ports.local(ports.TEACHER)
    student_address: str = ports.local(ports.STUDENT)
    distill_address: str = ports.local(ports.DISTILL)
    """Jobs and registry."""
    voice_address: str = ports.local(ports.VOICE)
    search_address: str = ports.local(ports.SEARCH)
    messaging_address: str = ports.local(ports.MESSAGING)
    robotics_address: str = ports.local(ports.ROBOTICS)
    refresh_s: float = Field(default=2.0, ge=0.5)
    """How often a live page looks again."""
    timeout_s: float = Field(default=3.0, gt=0)
    """Longest wait for a server before it counts as down."""
    answer_timeout_s: float = Field(default=120.0, gt=0)
    """Longest time an answer of a model may take."""
