"""Named sources of solved requests, with a part of each kept out of training.

``open_source("home-ko", "dev", seed=0, limit=300)`` yields ``seodang.tasks.Example``. Nothing here imports torch.
"""

from seodang.corpora.files import DATA_DIR_SETTING, MissingData, data_dir
from seodang.corpora.registry import SOURCES, SPLITS, UnknownSource, open_conversations, open_source

__all__ = [
    "DATA_DIR_SETTING",
    "SOURCES",
    "SPLITS",
    "MissingData",
    "UnknownSource",
    "data_dir",
    "open_conversations",
    "open_source",
]
