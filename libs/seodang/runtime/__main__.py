"""One engine process: ``python -m seodang.runtime``, started by ``seodang.worker`` with a socket to its host."""

import argparse
import ctypes
import os
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Join the group and serve until told to leave."""
    parser = argparse.ArgumentParser(prog="python -m seodang.runtime")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--ranks", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rendezvous", type=Path, required=True, help="file where the ranks meet")
    parser.add_argument("--socket", type=int, required=True, help="inherited descriptor of the socket to the host")
    parser.add_argument("--parent", type=int, required=True, help="process id of the host")
    parser.add_argument("--heartbeat-interval-s", type=float, required=True)
    parser.add_argument("--window-chunks", type=int, required=True)
    arguments = parser.parse_args()
    _die_with(arguments.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the host, which then tells us

    import torch

    from seodang.runtime.follower import follow
    from seodang.runtime.link import Link, Progress
    from seodang.runtime.server import Server
    from seodang.runtime.sharding import Ranks

    threading.excepthook = _end_process
    torch.set_num_threads(arguments.threads)
    progress = Progress()
    connection = socket.socket(fileno=arguments.socket)
    ranks = Ranks.join(arguments.rank, arguments.ranks, arguments.device, arguments.rendezvous)
    link = Link(connection, arguments.rank, progress, arguments.heartbeat_interval_s)
    if arguments.rank == 0:
        Server(link, ranks, progress, arguments.window_chunks).run()
    else:
        follow(ranks, progress)
    sys.stdout.flush()
    os._exit(0)  # no thread of ours needs to end well, and none may keep the process


def _end_process(arguments: threading.ExceptHookArgs) -> None:
    """An unforeseen error in any thread ends the process; the host then restarts the group."""
    traceback.print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the host dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the host has gone")


if __name__ == "__main__":
    main()
