"""What is said back: a sentence for each kind of call, in Korean and English.

The service decides and does not act, so replies promise ("I'll turn on ...") and do not report.
"""

from seodang.adapters.voice.replies.languages import SPEAKERS
from seodang.adapters.voice.replies.speaker import Speaker

__all__ = ["SPEAKERS", "Speaker"]
