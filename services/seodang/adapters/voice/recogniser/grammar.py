"""The sentences that the recogniser can hear: Home Assistant's command templates with the words of one home.

Templates come from the package ``home-assistant-intents`` (CC BY 4.0): for English the lean set made for speech, for
Korean the whole set's most spoken intents.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import home_assistant_intents
from hassil import expression as template
from hassil.parse_expression import parse_sentence

from seodang.adapters.voice.recogniser.automaton import BLANK, JOINED, Automaton, Sentences
from seodang.adapters.voice.recogniser.home import Home
from seodang.base.errors import InvalidInput

LANGUAGES = ("ko", "en")
# Korean counts hours with its own numerals and everything else with Sino-Korean ones.
NATIVE = ":native"
_KOREAN_INTENTS = (
    "HassTurnOn",
    "HassTurnOff",
    "HassLightSet",
    "HassClimateSetTemperature",
    "HassClimateGetTemperature",
    "HassStartTimer",
    "HassCancelTimer",
    "HassGetCurrentTime",
    "HassGetCurrentDate",
    "HassGetWeather",
    "HassMediaPause",
    "HassMediaNext",
    "HassNevermind",
)
# Templates offer signs beside the words for them ("%" or "percent"); only the words can be heard.
_UNSPOKEN = re.compile(r"[%°/-]")
_LARGEST_NUMBER = 100
_LARGEST_HOUR = 24


class _Unspeakable(Exception):
    """A part of a template that cannot be heard: a sign, any text at all, or a list without entries."""


def build(language: str, home: Home) -> Automaton:
    """The commands of a home.

    Raises:
        InvalidInput: the language is not one of ``LANGUAGES``, or the home leaves nothing to hear.
    """
    if language not in LANGUAGES:
        raise InvalidInput(f"no grammar for language {language!r}: {', '.join(LANGUAGES)}")
    data = _templates(language)
    sentences = Sentences()
    for intent in data["intents"].values():
        for block in intent["data"]:
            domains = (block.get("requires_context") or {}).get("domain") or ()
            walk = _Walk(sentences, data, home, tuple(domains), counts_hours_natively=language == "ko")
            for text in block["sentences"]:
                walk.sentence(text)
    automaton = sentences.minimal()
    if not automaton.arcs:
        raise InvalidInput(f"the home has no names in {language!r}, so no command could be heard")
    return automaton


def spoken_text(words: list[str]) -> str:
    """The words of a path through the automaton as a sentence."""
    text = ""
    for word in words:
        plain = word.removesuffix(NATIVE)
        text += plain.removeprefix(JOINED) if plain.startswith(JOINED) or not text else f" {plain}"
    return text


def _templates(language: str) -> Mapping[str, Any]:
    if language == "en":
        return dict(home_assistant_intents.get_speech_to_phrase_intents("en"))
    data = dict(home_assistant_intents.get_intents("ko"))
    return data | {"intents": {name: data["intents"][name] for name in _KOREAN_INTENTS}}


class _Walk:
    """Adds templates to the sentences, with the names that fit devices of ``domains``."""

    def __init__(
        self,
        sentences: Sentences,
        data: Mapping[str, Any],
        home: Home,
        domains: tuple[str, ...],
        *,
        counts_hours_natively: bool,
    ) -> None:
        self._sentences = sentences
        self._data = data
        self._home = home
        self._domains = domains
        self._counts_hours_natively = counts_hours_natively

    def sentence(self, text: str) -> None:
        """Adds one template; one that cannot be heard is left out."""
        # What was added before an unspeakable part leads nowhere, because its way in is only made at the end.
        first = self._sentences.state()
        try:
            self._add(parse_sentence(text).expression, first, self._sentences.end)
        except _Unspeakable:
            return
        self._sentences.arc(self._sentences.start, "", first)

    def _add(self, node: Any, source: int, target: int) -> None:
        if isinstance(node, template.TextChunk):
            self._chain([part for part in re.split(r"(\s+)", node.text) if part], source, target)
        elif isinstance(node, template.Alternative):
            self._any_of(node.items, node.is_optional, source, target)
        elif isinstance(node, template.Permutation):
            for order in itertools.permutations(node.items):
                self._sequence(order, source, target)
        elif isinstance(node, template.Group):
            self._sequence(tuple(node.items), source, target)
        elif isinstance(node, template.RuleReference):
            self._add(parse_sentence(self._data["expansion_rules"][node.rule_name]).expression, source, target)
        elif isinstance(node, template.ListReference):
            entries = [parse_sentence(entry).expression for entry in self._entries(node.list_name)]
            self._any_of(entries, False, source, target)

    def _chain(self, parts: list[str], source: int, target: int) -> None:
        symbols = [BLANK if part.isspace() else part.strip(",.?!").lower() for part in parts]
        if any(_UNSPOKEN.search(symbol) for symbol in symbols):
            raise _Unspeakable
        for index, symbol in enumerate(symbols or [""]):
            following = target if index >= len(symbols) - 1 else self._sentences.state()
            self._sentences.arc(source, symbol, following)
            source = following

    def _sequence(self, nodes: tuple[Any, ...], source: int, target: int) -> None:
        if not nodes:
            self._sentences.arc(source, "", target)
        for index, node in enumerate(nodes):
            following = target if index == len(nodes) - 1 else self._sentences.state()
            self._add(node, source, following)
            source = following

    def _any_of(self, nodes: list[Any], may_be_left_out: bool, source: int, target: int) -> None:
        ways = int(may_be_left_out)
        if may_be_left_out:
            self._sentences.arc(source, "", target)
        for node in nodes:
            first = self._sentences.state()
            try:
                self._add(node, first, target)
            except _Unspeakable:
                continue
            self._sentences.arc(source, "", first)
            ways += 1
        if not ways:
            raise _Unspeakable

    def _entries(self, name: str) -> Iterator[str]:
        if name == "area":
            yield from self._home.areas
        elif name == "floor":
            yield from self._home.floors
        elif name == "name":
            for domain in self._domains:
                yield from self._home.devices.get(domain, ())
        else:
            yield from self._listed(name, self._data["lists"].get(name, {}))

    def _listed(self, name: str, listed: Mapping[str, Any]) -> Iterator[str]:
        for value in listed.get("values", ()):
            yield value["in"]
        if "range" in listed and listed["range"]["to"] <= _LARGEST_NUMBER:
            first, last, step = listed["range"]["from"], listed["range"]["to"], listed["range"].get("step", 1)
            if "hours" in name:
                mark = NATIVE if self._counts_hours_natively else ""
                yield from (f"{number}{mark}" for number in range(first, _LARGEST_HOUR + 1, step))
            else:
                yield from map(str, range(first, last + 1, step))
