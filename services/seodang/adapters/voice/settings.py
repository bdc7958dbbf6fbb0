"""What the voice service can be told by its environment."""

from pathlib import Path

from pydantic import Field

from seodang.base import ports
from seodang.base.settings import Settings, settings_config


class VoiceSettings(Settings):
    """Variables begin with ``SEODANG_VOICE_``."""

    model_config = settings_config("SEODANG_VOICE_")

    host: str = "127.0.0.1"
    port: int = Field(ports.VOICE, ge=0, le=65535)
    grace_s: float = Field(20.0, ge=0)
    """How long conversations may go on once the service is told to stop."""
    state_dir: Path = Path("out/state/voice")
    """Folder of the built-in engines' logs."""
    student_address: str = ports.local(ports.STUDENT)
    model: str = "models/assistant"
    """The student that decides when a request names none."""
    capture_tenant: str = ""
    """Whose traffic this is: what people agree to share is kept as that tenant's policy allows. Empty keeps nothing."""
    capture_address: str = ports.local(ports.DISTILL)
    """host:port of the server that keeps it."""
    stt_address: str = ""
    """host:port of a Wyoming speech recogniser; empty: the built-in one, which hears home commands."""
    tts_address: str = ""
    """host:port of a Wyoming speech synthesiser; empty: the built-in one, espeak-ng."""
    home: Path | None = None
    """JSON file with the rooms and devices that the built-in recogniser listens for; unset: a flat's usual ones."""
    engine_timeout_s: float = Field(20.0, gt=0)
    """For a speech engine's answer to one utterance or one reply."""
    decision_timeout_s: float = Field(20.0, gt=0)
    """For the student's answer."""
    reply_lead_ms: int = Field(2_000, ge=100)
    """How far a spoken reply may be sent ahead of its being played; what is sent later can still be taken back."""
