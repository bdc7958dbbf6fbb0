"""What the bodies of all endpoints share: unknown fields are errors, and so are numbers in quotes and broken text."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from google.protobuf import json_format, struct_pb2
from pydantic import AfterValidator, BaseModel, ConfigDict

from seodang.base.errors import InvalidInput

# Far below the nesting at which protobuf refuses to read a message.
_MAX_DEPTH: Final = 24


def _whole(text: str) -> str:
    """JSON can spell half a surrogate pair, which no encoding of Unicode can carry."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"not valid Unicode: half a surrogate pair at character {error.start}") from None
    return text


Text = Annotated[str, AfterValidator(_whole)]


class Body(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def struct_of(value: Mapping[str, Any], field: str) -> struct_pb2.Struct:
    """A JSON object as a protobuf struct.

    Raises:
        InvalidInput: it is nested too deeply, or its text is not valid Unicode.
    """
    if not _fits(value, _MAX_DEPTH):
        raise InvalidInput(f"{field}: nested more than {_MAX_DEPTH} levels deep", field=field)
    try:
        return json_format.ParseDict(dict(value), struct_pb2.Struct())
    except (json_format.ParseError, UnicodeError) as error:
        raise InvalidInput(f"{field}: not an object that the mesh can carry: {error}", field=field) from error


def _fits(value: Any, levels: int) -> bool:
    if not isinstance(value, Mapping | list):
        return True
    parts = value.values() if isinstance(value, Mapping) else value
    return levels > 0 and all(_fits(part, levels - 1) for part in parts)
