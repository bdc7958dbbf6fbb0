"""Consented traffic on its way to training data: personal data out of it, and it out of the way of those who answer."""

from seodang.capture.recorder import Keep, OnAnswer, Outcome, Recorder, RecorderConfig, keep_nothing, keeping, recording
from seodang.capture.redaction import Redacted, redact

__all__ = [
    "Keep",
    "OnAnswer",
    "Outcome",
    "Recorder",
    "RecorderConfig",
    "Redacted",
    "keep_nothing",
    "keeping",
    "recording",
    "redact",
]
