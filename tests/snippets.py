"""The snippets of our pages, run as a reader would run them."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_snippet(page: str, instead: dict[str, str]) -> str:
    """Runs the one Python snippet of a page, with some of its words replaced; returns what it prints."""
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    for old, new in instead.items():
        assert old in snippet
        snippet = snippet.replace(old, new)
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
