"""What every message is made of."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything here: immutable, keyword-only, unknown fields refused."""


class Message(Record, frozen=True, tag_field="type"):
    """A record that travels on its own or in a union, told apart by its ``type``."""
