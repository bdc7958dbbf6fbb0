import pytest

from seodang.tasks import InvalidAnswer, Message, Role
from seodang.tasks.messaging import MAX_REPLY_CHARACTERS, MessagingRequest, Reply, messages, parse, score


def test_earlier_turns_stand_between_the_system_message_and_the_new_one() -> None:
    earlier = (Message(Role.USER, "안녕"), Message(Role.ASSISTANT, "안녕하세요."))
    roles = [message.role for message in messages(MessagingRequest("잘 지내?", earlier))]
    assert roles == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER]


def test_a_reply_loses_the_space_around_it() -> None:
    assert parse("  네, 좋아요.\n") == Reply("네, 좋아요.")


@pytest.mark.parametrize("text", ["", " \n", "가" * (MAX_REPLY_CHARACTERS + 1), "안\N{REPLACEMENT CHARACTER}"])
def test_a_reply_that_cannot_be_sent_is_refused(text: str) -> None:
    with pytest.raises(InvalidAnswer):
        parse(text)


def test_f1_grows_with_the_characters_in_common() -> None:
    assert score("여행은 언제나 좋죠.", "여행은 언제나 좋죠.") == {"exact": 1.0, "f1": 1.0}
    near, far = score("여행은 좋죠.", "여행은 언제나 좋죠.")["f1"], score("밥 먹어요", "여행은 언제나 좋죠.")["f1"]
    assert 1.0 > near > far == 0.0
