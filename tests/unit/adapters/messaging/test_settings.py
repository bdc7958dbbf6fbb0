"""Bad settings are named, and a secret among them is not repeated."""

import pytest

from seodang.adapters.messaging.server import configured_channels
from seodang.adapters.messaging.settings import MessagingSettings
from seodang.base.errors import InvalidInput

SECRET = "a-secret-value"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"SLACK_SIGNING_SECRET": SECRET}, "SEODANG_MESSAGING_SLACK_BOT_TOKEN is not set"),
        ({"SLACK_BOT_TOKEN": SECRET}, "SEODANG_MESSAGING_SLACK_SIGNING_SECRET is not set"),
        ({"SLACK_TOKEN": SECRET}, "unknown settings SEODANG_MESSAGING_SLACK_TOKEN"),
        ({"PORT": "many", "KAKAO_TOKEN": SECRET}, "SEODANG_MESSAGING_PORT='many'"),
        ({"KAKAO_ANSWER_WITHIN_S": "5", "KAKAO_TOKEN": SECRET}, "SEODANG_MESSAGING_KAKAO_ANSWER_WITHIN_S='5'"),
    ],
)
def test_bad_settings_are_named_without_secrets(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], why: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"SEODANG_MESSAGING_{name}", value)
    with pytest.raises(InvalidInput) as caught:
        configured_channels(MessagingSettings.load())
    assert why in caught.value.message
    assert SECRET not in caught.value.message


def test_settings_do_not_show_their_secrets() -> None:
    assert SECRET not in repr(MessagingSettings(slack_bot_token=SECRET, kakao_token=SECRET))
