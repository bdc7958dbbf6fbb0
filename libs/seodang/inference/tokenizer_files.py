"""The files of a model's tokenizer, in pieces that fit a message."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final

from seodang.api.inference.v1 import inference_pb2
from seodang.inference.describe import tokenizer_sha256
from seodang.inference.directory import ModelDirectory, ServedModel

CHUNK_BYTES: Final = 2**20
FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


async def stream_tokenizer(
    directory: ModelDirectory, name: str
) -> AsyncGenerator[inference_pb2.GetTokenizerResponse, None]:
    """Every file that the checkpoint has of ``FILES``; the engine has loaded it, so ``tokenizer.json`` is there."""
    async with directory.lease(name) as model, aclosing(_parts(model)) as parts:
        async for part in parts:
            yield part


async def _parts(model: ServedModel) -> AsyncGenerator[inference_pb2.GetTokenizerResponse, None]:
    folder = Path(model.info.folder)
    digest = tokenizer_sha256(model.info)
    for name in FILES:
        if not (folder / name).is_file():
            continue
        content = await asyncio.to_thread((folder / name).read_bytes)
        file_sha256 = hashlib.sha256(content).hexdigest()
        for offset in range(0, max(len(content), 1), CHUNK_BYTES):
            yield inference_pb2.GetTokenizerResponse(
                path=name,
                file_sha256=file_sha256,
                offset=offset,
                data=content[offset : offset + CHUNK_BYTES],
                tokenizer_sha256=digest,
            )
