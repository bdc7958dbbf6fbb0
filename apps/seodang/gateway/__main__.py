"""``python -m seodang.gateway``."""

from seodang.base.process import run_process
from seodang.gateway.server import serve
from seodang.gateway.settings import GatewaySettings


async def _serve() -> None:
    await serve(GatewaySettings.load())


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    run_process("gateway", _serve())


if __name__ == "__main__":
    main()
