"""What may go down to a rank, and what may come up."""

from typing import TypeAlias

from seodang.worker.messages.answers import Decode, Decoded, Embed, Embedded, Render, Rendered
from seodang.worker.messages.generation import Accepted, Cancel, Finished, Generate, TokenDelta
from seodang.worker.messages.models import Load, Loaded, LoadProgress, Unload, Unloaded
from seodang.worker.messages.process import Failed, Heartbeat, Shutdown
from seodang.worker.messages.scoring import Credit, FetchHead, HeadChunk, Score, ScoreChunk

Command: TypeAlias = Load | Unload | Generate | Cancel | Score | Credit | FetchHead | Embed | Render | Decode | Shutdown
Event: TypeAlias = (
    LoadProgress
    | Loaded
    | Unloaded
    | Accepted
    | TokenDelta
    | Finished
    | ScoreChunk
    | HeadChunk
    | Embedded
    | Rendered
    | Decoded
    | Failed
    | Heartbeat
)
