"""Tools that need torch run as processes of their own: the command line itself never imports it."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from seodang.base.errors import Unsupported


def run_tool(module: str, arguments: Sequence[str], *, needs: str = "torch", extra: str = "runtime") -> int:
    """Run ``python -m module`` on our terminal; its exit status.

    Args:
        module: to be run.
        arguments: for it.
        needs: package without which it does not start.
        extra: of ours, which installs that package.

    Raises:
        Unsupported: the package is not installed.
    """
    if importlib.util.find_spec(needs) is None:
        raise Unsupported(f"this command needs {needs}: pip install 'seodang[{extra}]'")
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode
