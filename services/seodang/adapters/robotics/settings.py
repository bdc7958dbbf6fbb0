"""What the robotics service can be told by its environment."""

from pathlib import Path

from pydantic import Field

from seodang.base import ports
from seodang.base.settings import Settings, settings_config


class RoboticsSettings(Settings):
    """Variables begin with ``SEODANG_ROBOTICS_``. The limits hold for all missions; a request can only tighten them."""

    model_config = settings_config("SEODANG_ROBOTICS_")

    host: str = "127.0.0.1"
    port: int = Field(ports.ROBOTICS, ge=0, le=65535)
    grace_s: float = Field(20.0, ge=0)
    """How long missions may go on once the service is told to stop."""
    state_dir: Path = Path("out/state/robotics")
    """Folder of the latched stops and of the decision logs."""
    student_address: str = ports.local(ports.STUDENT)
    model: str = "models/robot"
    """The student that drives when a mission names none."""
    capture_tenant: str = ""
    """Whose traffic this is: what people agree to share is kept as that tenant's policy allows. Empty keeps nothing."""
    capture_address: str = ports.local(ports.DISTILL)
    """host:port of the server that keeps it."""
    max_actions: int = Field(2000, ge=1)
    """Commands of one mission, HOLD included."""
    max_observation_age_s: float = Field(2.0, gt=0)
    """From the moment an observation was made until its command leaves; the student's time counts."""
    observation_timeout_s: float = Field(10.0, gt=0)
    """The robot is told to hold, and the mission ends, when no observation came for so long."""
    max_actions_per_s: float = Field(50.0, gt=0)
    holds_before_turn: int = Field(1, ge=0)
    """Refused actions in a row that are answered with HOLD; the next is answered with a turn to the right."""
    failures_before_fault: int = Field(5, ge=1)
    """Decisions in a row that the student may fail to give before the mission ends with a fault."""
