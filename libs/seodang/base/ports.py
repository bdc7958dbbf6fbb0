"""Where the processes of a mesh listen unless they are told otherwise."""

from typing import Final

TEACHER: Final = 7101
STUDENT: Final = 7102
DISTILL: Final = 7103
VOICE: Final = 7111
SEARCH: Final = 7112
MESSAGING: Final = 7113
ROBOTICS: Final = 7114
GATEWAY: Final = 7180
CONSOLE: Final = 7190


def local(port: int) -> str:
    """host:port on this machine."""
    return f"127.0.0.1:{port}"
