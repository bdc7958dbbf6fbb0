"""What the messaging service can be told by its environment."""

from pathlib import Path

from pydantic import Field, SecretStr

from seodang.base import ports
from seodang.base.settings import Settings, settings_config


class MessagingSettings(Settings):
    """Variables begin with ``SEODANG_MESSAGING_``. A messenger whose secrets are not set is not served.

    Secrets have no rules of their own here: the message of a broken rule would repeat the value.
    """

    model_config = settings_config("SEODANG_MESSAGING_")

    host: str = "127.0.0.1"
    port: int = Field(ports.MESSAGING, ge=0, le=65535)
    grace_s: float = Field(20.0, ge=0)
    """How long calls in flight may go on once the service is told to stop."""
    state_dir: Path = Path("out/state/messaging")
    """Folder of what came in and what goes out; one process at a time owns it."""

    student_address: str = ports.local(ports.STUDENT)
    model: str = "models/messaging"
    capture_tenant: str = ""
    """Whose traffic this is: what people write, and the replies, are kept for training as that tenant's policy
    allows, by conversation. A messenger says nothing of consent: set it only if people agree before they write. Empty
    keeps nothing."""
    capture_address: str = ports.local(ports.DISTILL)
    """host:port of the server that keeps it."""
    max_reply_tokens: int = Field(128, ge=8)
    history_turns: int = Field(0, ge=0, le=20)
    """Earlier messages of the conversation, with their replies, that the student is shown. The bundled student
    learned single turns; a larger one gains from more."""
    student_timeout_s: float = Field(30.0, gt=0)
    answer_slots: int = Field(4, ge=1)
    """Replies that are written at the same time."""
    give_up_s: float = Field(300.0, gt=0)
    """When the student still cannot answer this long after a message came, ``fallback_text`` is sent."""
    fallback_text: str = "지금은 답을 드리기 어려워요. 잠시 후 다시 말씀해 주세요."

    slack_signing_secret: SecretStr = SecretStr("")
    slack_bot_token: SecretStr = SecretStr("")
    slack_api_url: str = "https://slack.com/api/"

    kakao_token: SecretStr = SecretStr("")
    """KakaoTalk signs nothing: the skill is given this as the header ``x-webhook-token``."""
    kakao_bot_id: str = ""
    """The only bot to answer for; empty answers for any that knows the token."""
    kakao_answer_within_s: float = Field(4.0, gt=0, lt=5)
    """How long a skill request may wait for its reply; KakaoTalk itself gives up after 5 seconds."""
    kakao_callback_prefix: str = "https://bot-api.kakao.com/"
    """Replies are posted to callback URLs that begin with this, and to no others."""

    send_timeout_s: float = Field(10.0, gt=0)
    send_attempts: int = Field(8, ge=1)
    """Attempts, while a messenger says that it took nothing, before a reply counts as failed."""
    channel_sends_per_s: float = Field(1.0, gt=0)
    """What Slack allows in one channel."""
    channel_burst: int = Field(2, ge=1)
