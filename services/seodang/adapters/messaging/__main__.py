"""Run the messaging service: ``python -m seodang.adapters.messaging``."""

import logging

from seodang.adapters.messaging.server import running_server
from seodang.adapters.messaging.settings import MessagingSettings
from seodang.base.process import run_process


async def serve() -> None:
    """Serves until it is told to stop."""
    # It would write each URL it calls, and a callback URL is a secret: whoever knows it may speak for the bot.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    async with running_server(MessagingSettings.load()) as server:
        await server.serve_until_signalled()


if __name__ == "__main__":
    run_process("messaging", serve())
