"""Models that a vLLM server computes: our prompts, our text and our rules, its tokens.

Generate ──► ExternalEngine ──► body ──► VllmServer ──► POST /v1/completions
events   ◄── Completion     ◄── Piece ◄── one server-sent event
"""

from seodang.runtime.external.engine import ExternalEngine
from seodang.runtime.external.loading import load_external

__all__ = ["ExternalEngine", "load_external"]
