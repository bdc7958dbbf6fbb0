"""The `seodang` command."""

import os


def main() -> None:
    """Entry point. gRPC's own log lines are silenced first, here and in every process started from here."""
    # It reads this once, as it is imported; a process that goes away is news of the mesh's, not of a transport's.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from seodang.cli.commands import app

    app()


if __name__ == "__main__":
    main()
