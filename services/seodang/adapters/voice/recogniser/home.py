"""The rooms and devices that the recogniser listens for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from seodang.base.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Home:
    """Names in one language, written as they are spoken; ``devices`` by Home Assistant domain."""

    areas: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def default_homes() -> dict[str, Home]:
    """A flat with the usual things in it. The fewer names, the surer each is heard."""
    return {
        "ko": Home(
            areas=("거실", "주방", "부엌", "침실", "안방", "욕실", "화장실", "서재", "현관", "베란다", "아이방"),
            devices={
                "light": ("스탠드", "무드등"),
                "switch": ("가습기", "보일러"),
                "fan": ("서큘레이터",),
                "media_player": ("텔레비전", "스피커"),
                "climate": ("에어컨",),
                "cover": ("블라인드",),
                "lock": ("도어락",),
            },
        ),
        "en": Home(
            areas=("living room", "bedroom", "kitchen", "bathroom", "office", "garage", "hallway", "dining room"),
            devices={
                "light": ("chandelier",),
                "switch": ("coffee maker", "humidifier"),
                "fan": ("ceiling fan",),
                "media_player": ("tv", "speaker"),
                "climate": ("thermostat",),
                "cover": ("blinds",),
                "lock": ("deadbolt",),
            },
        ),
    }


def read_homes(path: Path) -> dict[str, Home]:
    """Homes from a JSON file: ``{"ko": {"areas": [...], "floors": [...], "devices": {"light": [...]}}, "en": ...}``.

    Raises:
        InvalidInput: not such a file; the message names the path and the key.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(body, dict) or not body:
        raise InvalidInput(f"{path} must map languages to homes, such as {{'ko': {{'areas': ['거실']}}}}")
    return {language: _home(path, language, entry) for language, entry in body.items()}


def _home(path: Path, language: str, entry: object) -> Home:
    if not isinstance(entry, dict) or not set(entry) <= {"areas", "floors", "devices"}:
        raise InvalidInput(f"{path}: {language!r} may have 'areas', 'floors' and 'devices', and nothing else")
    devices = entry.get("devices", {})
    if not isinstance(devices, dict):
        raise InvalidInput(f"{path}: {language!r}: 'devices' must map domains to names")
    return Home(
        areas=_names(path, f"{language}.areas", entry.get("areas", [])),
        floors=_names(path, f"{language}.floors", entry.get("floors", [])),
        devices={domain: _names(path, f"{language}.devices.{domain}", names) for domain, names in devices.items()},
    )


def _names(path: Path, key: str, names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise InvalidInput(f"{path}: {key} must be a list of names")
    return tuple(names)
