"""What the search service can be told by its environment."""

from pathlib import Path

from pydantic import Field

from seodang.base import ports
from seodang.base.settings import Settings, settings_config


class SearchSettings(Settings):
    """Variables begin with ``SEODANG_SEARCH_``."""

    model_config = settings_config("SEODANG_SEARCH_")

    host: str = "127.0.0.1"
    port: int = Field(ports.SEARCH, ge=0, le=65535)
    grace_s: float = Field(20.0, ge=0)
    """How long calls in flight may go on once the service is told to stop."""
    state_dir: Path = Path("out/state/search")
    """Folder of the indexes, one file each."""
    student_address: str = ports.local(ports.STUDENT)
    model: str = "models/search"
    """The student that answers when a request names none."""
    capture_tenant: str = ""
    """Whose traffic this is: what people agree to share is kept as that tenant's policy allows. Empty keeps nothing."""
    capture_address: str = ports.local(ports.DISTILL)
    """host:port of the server that keeps it."""
    passage_characters: int = Field(320, ge=80, le=4000)
    """Longest passage. It holds for documents indexed from now on."""
    max_answer_tokens: int = Field(160, ge=8)
