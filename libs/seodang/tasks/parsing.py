"""What the parsers of all jobs share: the error for text that is no answer."""

from seodang.base.errors import SeodangError


class InvalidAnswer(SeodangError):
    """A model's text does not follow the form that its job demands; ``text`` is that text."""

    default_reason = "INVALID_ANSWER"

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(f"{message}: {text[:200]!r}", metadata={"text": text[:200]})
        self.text = text
