"""Who may use the gateway: API keys, of which only hashes are kept."""

import hashlib
import hmac
import logging
import re
from pathlib import Path
from typing import Final, Self

from starlette.requests import Request

from seodang.base.errors import InvalidInput, Unauthenticated

log = logging.getLogger(__name__)

NO_KEYS: Final = "local"
_CALLER: Final = "seodang.caller"
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})(?:\s+(?P<name>\S+))?\s*-?")


class KeyRing:
    """The keys that open the gateway, as SHA-256 digest → name. An empty ring lets everyone in, and says so."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Reads a file of ``<sha256 in hexadecimal> <name>`` lines; ``#`` begins a comment.

        Raises:
            InvalidInput: the file cannot be read, a line has another form, or there is no key in it.
        """
        if path is None:
            log.warning(
                "NO API KEYS ARE SET: whoever reaches this port may use every model (SEODANG_GATEWAY_API_KEYS_FILE)"
            )
            return cls({})
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"SEODANG_GATEWAY_API_KEYS_FILE={str(path)!r} cannot be read: {error}") from error
        names: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            entry = line.partition("#")[0].strip()
            if not entry:
                continue
            match = _LINE.fullmatch(entry)
            if match is None:
                raise InvalidInput(f"{path}:{number}: not '<sha256 of the key, 64 hexadecimal digits> <name>'")
            names[match["digest"]] = match["name"] or f"line-{number}"
        if not names:
            raise InvalidInput(f"{path} holds no key: nobody could come in; add one, or unset the setting")
        return cls(names)

    def admit(self, request: Request) -> None:
        """Checks the request's ``Authorization: Bearer`` key.

        Raises:
            Unauthenticated: there is none, or it is not one of ours.
        """
        if not self._names:
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated("no API key: send it as 'Authorization: Bearer KEY'", reason="MISSING_API_KEY")
        presented = hashlib.sha256(key.strip().encode()).hexdigest()
        # Every digest is compared, each in constant time, so that the time taken says nothing about the keys.
        matches = [name for digest, name in self._names.items() if hmac.compare_digest(digest, presented)]
        if not matches:
            raise Unauthenticated("the API key is not known here: check it for typos", reason="INVALID_API_KEY")
        request.scope[_CALLER] = matches[0]


def tenant_of(request: Request) -> str:
    """Whose traffic a request is: the name of its key, or ``local`` where there are no keys."""
    return str(request.scope.get(_CALLER, NO_KEYS))
