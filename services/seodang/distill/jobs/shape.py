"""Whether a student can be built from the config.json of a spec."""

import asyncio
import json
import sys
from typing import Final

from seodang.base.errors import InvalidInput, Unavailable

_FIELD: Final = "spec.shape.config_json"
_PROBE_TIMEOUT_S: Final = 120.0
_MOST_CHARACTERS: Final = 500


async def check_config(config_json: str, vocabulary_size: int) -> None:
    """Builds the student without weights, for the vocabulary of its tokenizer.

    Raises:
        InvalidInput: it is not the config of a causal language model that transformers can build.
        Unavailable: building it did not end in time.
    """
    try:
        fields = json.loads(config_json)
    except ValueError as error:
        raise InvalidInput(f"{_FIELD} is not JSON: {error}", field=_FIELD) from error
    if not isinstance(fields, dict) or not isinstance(fields.get("model_type"), str):
        raise InvalidInput(f"{_FIELD} is not an object with a model_type, such as llama or qwen3", field=_FIELD)
    if fields.get("vocab_size", vocabulary_size) != vocabulary_size:
        raise InvalidInput(
            f"vocab_size={fields['vocab_size']!r} of {_FIELD} is not its tokenizer's, {vocabulary_size}: leave it out",
            field=_FIELD,
        )
    config_json = json.dumps(fields | {"vocab_size": vocabulary_size})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "seodang.distill.jobs.shape_probe",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(config_json.encode()), _PROBE_TIMEOUT_S)
    except TimeoutError as error:
        raise Unavailable(f"building {_FIELD} took more than {_PROBE_TIMEOUT_S:g} s: try again") from error
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        why = said.decode(errors="replace").strip()[:_MOST_CHARACTERS] or f"status {process.returncode}"
        raise InvalidInput(f"no student can be built from {_FIELD}: {why}", field=_FIELD)
