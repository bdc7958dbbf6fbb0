"""Run the recogniser alone: ``python -m seodang.adapters.voice.recogniser --uri tcp://127.0.0.1:10300``."""

import argparse
import asyncio
import logging
from functools import partial
from pathlib import Path

from wyoming.server import AsyncServer

from seodang.adapters.voice.recogniser.decoder import CommandDecoder
from seodang.adapters.voice.recogniser.home import default_homes, read_homes
from seodang.adapters.voice.recogniser.server import RecogniserHandler
from seodang.base.process import run_process

log = logging.getLogger(__name__)


async def serve(arguments: argparse.Namespace) -> None:
    """Makes the grammars, then serves until SIGTERM."""
    homes = read_homes(arguments.home) if arguments.home else default_homes()
    decoders = {language: await asyncio.to_thread(CommandDecoder, language, home) for language, home in homes.items()}
    server = AsyncServer.from_uri(arguments.uri)
    log.info("serves %s on %s", ", ".join(decoders), arguments.uri)
    await server.run(partial(RecogniserHandler, decoders))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", required=True, help="tcp://HOST:PORT or unix:///PATH")
    parser.add_argument("--home", type=Path, help="JSON file with the names of rooms and devices")
    return parser.parse_args()


if __name__ == "__main__":
    run_process("recogniser", serve(_arguments()))
