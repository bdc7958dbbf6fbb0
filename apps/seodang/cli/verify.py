"""`seodang verify`: checks the whole chain behind a student, offline, one line a check."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from seodang.base.errors import InvalidInput
from seodang.provenance import Check, Outcome, TeacherFolder, check_student, tokenizer_sha256

_MARKS = {
    Outcome.HOLDS: ("✓", "green"),
    Outcome.FAILS: ("✗", "bold red"),
    Outcome.SKIPPED: ("–", "dim"),
}


def verify_student(folder: Path, key: Path | None, teacher: Path | None, console: Console) -> bool:
    """Prints every check; whether none failed.

    Raises:
        InvalidInput: the teacher's folder holds no checkpoint.
        NotFound: there is no folder of the student.
    """
    checks = check_student(folder, key, _identify(teacher) if teacher else None)
    for check in checks:
        console.print(_line(check), soft_wrap=True)
    failed = [check.name for check in checks if check.outcome is Outcome.FAILS]
    said = Text(f"{folder} is what it says it is.", "bold green")
    if failed:
        said = Text(f"{folder} does not prove what it is: see {', '.join(failed)}.", "bold red")
    console.print(said, soft_wrap=True)
    return not failed


def _line(check: Check) -> Text:
    mark, style = _MARKS[check.outcome]
    return Text.assemble((f"{mark} ", style), (f"{check.name:<10} ", style), check.found)


def _identify(folder: Path) -> TeacherFolder:
    """The weights' digest is the runtime's to say; its module needs no torch, but may not be imported from here."""
    command = [sys.executable, "-m", "seodang.runtime.fingerprint_command", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InvalidInput(f"no teacher could be read from {folder}: {done.stderr.strip()}", field="teacher")
    return TeacherFolder(folder, done.stdout.strip(), tokenizer_sha256(folder))
