"""Runs benchmarks, each in a process of its own, and renders docs/performance.md from all results.

    python -m benchmarks.run              # every benchmark of this folder
    python -m benchmarks.run loss search  # those named
    python -m benchmarks.run --render     # only the page, from the results that are there

One that fails is named at the end with the status that it left, its old result stays, and the others run all the same.
"""

import argparse
import subprocess
import sys
import time
from typing import Final

from benchmarks.page import PAGE, read_results, write_page
from benchmarks.result import FOLDER

_MACHINERY: Final = {"__init__", "page", "result", "run", "teacher"}


def benchmarks() -> list[str]:
    """The benchmarks of this folder, by name of module."""
    return sorted({path.stem for path in FOLDER.glob("*.py")} - _MACHINERY)


def main() -> int:
    """Exit status: 0, or 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(benchmarks())}; all by default")
    parser.add_argument("--render", action="store_true", help="run nothing, only render the page")
    given = parser.parse_args()
    unknown = set(given.names) - set(benchmarks())
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(benchmarks())}")
    failed = [] if given.render else run(given.names or benchmarks())
    write_page(read_results())
    print(f"rendered {PAGE.relative_to(FOLDER.parent)}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(names: list[str]) -> list[str]:
    """One after the other; those that failed."""
    failed = []
    for number, name in enumerate(names, start=1):
        print(f"[{number}/{len(names)}] {name}", flush=True)
        started = time.monotonic()
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=FOLDER.parent, check=False).returncode
        ending = "done" if status == 0 else f"FAILED with status {status}"
        print(f"[{number}/{len(names)}] {name}: {ending} after {time.monotonic() - started:.0f} s", flush=True)
        if status:
            failed.append(f"{name} ({status})")
    return failed


if __name__ == "__main__":
    sys.exit(main())
