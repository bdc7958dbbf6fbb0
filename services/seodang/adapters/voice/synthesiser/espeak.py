"""espeak-ng: the installed program, else the library that the package ``espeakng-loader`` brings."""

import asyncio
import importlib.util
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seodang.adapters.voice.sound import Sound
from seodang.adapters.voice.wav import read_wav
from seodang.base.errors import InvalidInput, SeodangError, Unavailable, Unsupported

VOICES: Mapping[str, str] = {"ko": "ko", "en": "en-us"}
MAX_CHARACTERS = 1_000
# At espeak-ng's slowest sensible speed the longest text stays far below this.
_MAX_SECONDS = 600
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Espeak:
    """A way to run espeak-ng; the language's voice follows ``command``."""

    name: str
    command: tuple[str, ...]

    async def speak(self, text: str, language: str) -> Sound:
        """The text as sound.

        Raises:
            InvalidInput: no text, or more than ``MAX_CHARACTERS``.
            Unsupported: the language is not in ``VOICES``.
            Unavailable: the program failed; the message has its own words.
        """
        if not text.strip() or len(text) > MAX_CHARACTERS:
            raise InvalidInput(f"{len(text)} characters cannot be spoken at once: 1 to {MAX_CHARACTERS}", field="text")
        if language not in VOICES:
            raise Unsupported(f"no voice for language {language!r}: {', '.join(VOICES)}")
        process = await asyncio.create_subprocess_exec(
            *self.command,
            VOICES[language],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            wav, said = await asyncio.wait_for(process.communicate(text.encode()), _TIMEOUT_S)
        except TimeoutError:
            raise Unavailable(f"{self.name} did not speak {len(text)} characters within {_TIMEOUT_S:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise Unavailable(f"{self.name} ended with status {process.returncode}: {said.decode(errors='replace')}")
        return read_wav(wav, max_seconds=_MAX_SECONDS)


async def find_espeak() -> Espeak:
    """The first way to run espeak-ng that really speaks.

    Raises:
        Unsupported: none does; the message tells what was tried and what to install.
    """
    failures = []
    for candidate in candidates():
        try:
            for language in VOICES:
                await candidate.speak("1", language)
        except (SeodangError, OSError) as error:
            failures.append(f"{candidate.name}: {error}")
        else:
            return candidate
    tried = "; ".join(failures) or "neither is installed"
    raise Unsupported(
        f"no espeak-ng to speak with ({tried}): install the program (Debian package espeak-ng) or the Python package "
        "espeakng-loader"
    )


def candidates() -> list[Espeak]:
    """The ways to run espeak-ng that are installed, the preferred one first."""
    found = []
    program = shutil.which("espeak-ng")
    if program:
        found.append(Espeak("the program espeak-ng", (program, "--stdin", "--stdout", "-v")))
    package = importlib.util.find_spec("espeakng_loader")
    if package and package.origin:
        folder = Path(package.origin).parent
        script = str(Path(__file__).with_name("espeak_library.py"))
        paths = (str(folder / "libespeak-ng.so"), str(folder / "espeak-ng-data"))
        found.append(Espeak("the library of espeakng-loader", (sys.executable, "-I", "-S", script, *paths)))
    return found
