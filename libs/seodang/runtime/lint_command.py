"""``seodang lint``: what will trip over a checkpoint, and a repaired copy of it."""

import argparse
import sys
from pathlib import Path

from seodang.base.errors import SeodangError
from seodang.runtime.linter import ERROR, Finding, lint
from seodang.runtime.repair import repair


def main(arguments: list[str] | None = None) -> int:
    """Print the findings; 0 if none is an error, 1 otherwise, 2 for a bad question."""
    parser = argparse.ArgumentParser(prog="seodang lint", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder with config.json and safetensors files")
    parser.add_argument("--repair", type=Path, metavar="COPY", help="write a repaired copy here")
    options = parser.parse_args(arguments)
    findings = lint(options.checkpoint)
    for finding in findings:
        print(render(finding))
    errors = sum(finding.severity == ERROR for finding in findings)
    print(f"{options.checkpoint}: {errors} errors, {len(findings) - errors} warnings")
    if options.repair is None:
        return 1 if errors else 0
    try:
        repair(options.checkpoint, options.repair, findings)
    except SeodangError as error:
        print(f"seodang lint: {error}", file=sys.stderr)
        return 2
    left = [finding for finding in lint(options.repair) if finding.severity == ERROR]
    print(f"{options.repair}: {len(left)} errors left")
    return 1 if left else 0


def render(finding: Finding) -> str:
    """One line for people."""
    fixable = " [--repair]" if finding.repair else ""
    return f"{finding.severity}: {finding.code} ({finding.who}): {finding.message}{fixable}"


if __name__ == "__main__":
    sys.exit(main())
