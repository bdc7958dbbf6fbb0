"""Who replies in which language."""

from collections.abc import Mapping
from typing import Final

from seodang.adapters.voice.replies import english, korean
from seodang.adapters.voice.replies.speaker import Speaker

SPEAKERS: Final[Mapping[str, Speaker]] = {"ko": korean.SPEAKER, "en": english.SPEAKER}
