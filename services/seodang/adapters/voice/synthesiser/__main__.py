"""Run the synthesiser alone: ``python -m seodang.adapters.voice.synthesiser --uri tcp://127.0.0.1:10200``."""

import argparse
import logging
from functools import partial

from wyoming.server import AsyncServer

from seodang.adapters.voice.synthesiser.espeak import find_espeak
from seodang.adapters.voice.synthesiser.server import SynthesiserHandler
from seodang.base.process import run_process

log = logging.getLogger(__name__)


async def serve(uri: str) -> None:
    """Finds espeak-ng, then serves until SIGTERM."""
    espeak = await find_espeak()
    server = AsyncServer.from_uri(uri)
    log.info("serves %s on %s", espeak.name, uri)
    await server.run(partial(SynthesiserHandler, espeak))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", required=True, help="tcp://HOST:PORT or unix:///PATH")
    run_process("synthesiser", serve(parser.parse_args().uri))
