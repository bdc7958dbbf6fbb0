"""``python -m seodang.runtime.fingerprint_command FOLDER``: the digest by which servers tell a checkpoint's weights."""

import sys

from seodang.base.errors import SeodangError
from seodang.runtime.checkpoint import Checkpoint
from seodang.runtime.fingerprint import fingerprint


def main(arguments: list[str] | None = None) -> int:
    """Print the digest; 2 if the folder holds no checkpoint."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m seodang.runtime.fingerprint_command FOLDER", file=sys.stderr)
        return 2
    try:
        print(fingerprint(Checkpoint.open(arguments[0])))
    except SeodangError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
