"""``python -m seodang.console`` starts Streamlit, without a browser of its own, on the console's port."""

import logging
import os
import sys
from pathlib import Path

from seodang.base.errors import SeodangError
from seodang.base.process import configure_logs
from seodang.console.settings import ConsoleSettings

APP = Path(__file__).with_name("app.py")


def main() -> None:
    """Becomes the Streamlit process, so that signals and exit status are Streamlit's own."""
    configure_logs("console")
    log = logging.getLogger(__name__)
    try:
        settings = ConsoleSettings.load()
    except SeodangError as error:
        log.error("%s", error.message)
        sys.exit(2)
    log.info("console serves on http://%s:%d", settings.host, settings.port)
    flags = {
        "server.headless": "true",
        "server.address": settings.host,
        "server.port": str(settings.port),
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
    }
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", str(APP), *arguments])


if __name__ == "__main__":
    main()
