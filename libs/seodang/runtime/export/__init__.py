"""Students for other people's runtimes: GGUF, which llama.cpp and what is built on it load."""

from seodang.runtime.export.gguf_file import Export, Exported, Weights
from seodang.runtime.export.vocabulary import Vocabulary

__all__ = ["Export", "Exported", "Vocabulary", "Weights"]
