"""Every message between a host process and its engine ranks: commands down, events up.

    host                                 rank 0 of the engine
      ├── Load, Unload                ──►   LoadProgress*, then Loaded | Unloaded | Failed
      ├── Generate                    ──►   Accepted, TokenDelta*, then exactly one of Finished | Failed
      ├── Score, FetchHead, Credit    ──►   ScoreChunk* | HeadChunk* (the last one says so), or Failed
      ├── Embed, Render, Decode       ──►   Embedded | Rendered | Decoded, or Failed
      ├── Cancel, Shutdown            ──►   Finished(cancelled), or nothing if the request has ended
      └── (every rank, unasked)             Heartbeat

A message is a msgspec struct; on the wire it is a MessagePack map behind a four-byte length (``seodang.worker.wire``).
Nothing here imports torch, and nothing is ever pickled.
"""

from seodang.worker.messages.answers import (
    Decode,
    Decoded,
    Embed,
    Embedded,
    Pooling,
    Render,
    Rendered,
)
from seodang.worker.messages.directions import Command, Event
from seodang.worker.messages.generation import (
    Accepted,
    Cancel,
    Constraint,
    Finished,
    FinishReason,
    Generate,
    JsonSchema,
    Lark,
    Regex,
    SamplingParams,
    TokenDelta,
    TokenLogprob,
    TopToken,
    Usage,
)
from seodang.worker.messages.models import (
    Draft,
    DType,
    ExternalServer,
    Layout,
    Load,
    Loaded,
    LoadOptions,
    LoadProgress,
    ModelInfo,
    Unload,
    Unloaded,
)
from seodang.worker.messages.process import (
    Failed,
    Heartbeat,
    Shutdown,
)
from seodang.worker.messages.prompts import (
    ChatMessage,
    ChatPrompt,
    Prompt,
    TextPrompt,
    TokenPrompt,
    ToolCall,
    ToolSchema,
)
from seodang.worker.messages.record import (
    Message,
    Record,
)
from seodang.worker.messages.scoring import (
    Credit,
    FetchHead,
    HeadChunk,
    Score,
    ScoreChunk,
)

__all__ = [
    "Accepted",
    "Cancel",
    "ChatMessage",
    "ChatPrompt",
    "Command",
    "Constraint",
    "Credit",
    "DType",
    "Decode",
    "Decoded",
    "Draft",
    "Embed",
    "Embedded",
    "Event",
    "ExternalServer",
    "Failed",
    "FetchHead",
    "FinishReason",
    "Finished",
    "Generate",
    "HeadChunk",
    "Heartbeat",
    "JsonSchema",
    "Lark",
    "Layout",
    "Load",
    "LoadOptions",
    "LoadProgress",
    "Loaded",
    "Message",
    "ModelInfo",
    "Pooling",
    "Prompt",
    "Record",
    "Regex",
    "Render",
    "Rendered",
    "SamplingParams",
    "Score",
    "ScoreChunk",
    "Shutdown",
    "TextPrompt",
    "TokenDelta",
    "TokenLogprob",
    "TokenPrompt",
    "ToolCall",
    "ToolSchema",
    "TopToken",
    "Unload",
    "Unloaded",
    "Usage",
]
