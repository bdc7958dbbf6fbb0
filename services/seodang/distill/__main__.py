"""``python -m seodang.distill`` serves; ``python -m seodang.distill migrate`` only brings the database up to date."""

import sys

from seodang.base.process import run_process
from seodang.distill.database.engine import open_engine
from seodang.distill.database.migrate import migrate
from seodang.distill.server import running_server
from seodang.distill.settings import DistillSettings


async def serve() -> None:
    """Serves until SIGTERM or SIGINT."""
    async with running_server(DistillSettings.load()) as server:
        await server.serve_until_signalled()


async def migrate_only() -> None:
    """Applies the migrations and tells the revision."""
    engine = open_engine(DistillSettings.load().database)
    try:
        print(f"the database is at revision {await migrate(engine)}")
    finally:
        await engine.dispose()


def main(arguments: list[str]) -> None:
    """Serves, or migrates if the first argument says so."""
    match arguments:
        case []:
            run_process("distill", serve())
        case ["migrate"]:
            run_process("distill", migrate_only())
        case _:
            sys.exit("usage: python -m seodang.distill [migrate]; settings are SEODANG_DISTILL_* variables")


if __name__ == "__main__":
    main(sys.argv[1:])
