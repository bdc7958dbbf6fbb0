"""Home commands: the sentence templates of Home Assistant, expanded with random rooms, devices and numbers.

Templates and their meaning come from the package ``home-assistant-intents`` (CC BY 4.0), parsed by ``hassil``. About
every fifth template is kept out of training, so that the development split asks in words never seen.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hassil
import home_assistant_intents
from hassil import expression as grammar
from hassil.intents import RangeSlotList, TextSlotList

from seodang.corpora import home_vocabulary as vocabulary
from seodang.corpora.files import held_out
from seodang.tasks import Example, assistant

_HELD_OUT_ONE_IN = 5
_FIRST_SLOTS = ("name", "area", "floor", "domain", "device_class", "state")
_ALIASES = {"input_button": "button"}


@dataclass(frozen=True)
class Template:
    """One sentence template of one intent, with the slots it fixes and the device domains that its name may have."""

    intent: str
    language: str
    text: str
    sentence: Any  # hassil's parsed expression; the package is untyped
    slots: dict[str, Any] = field(default_factory=dict)
    domains: tuple[str, ...] = ("light",)

    @property
    def held_out(self) -> bool:
        """Is the template one of those that may be kept out of training?"""
        return held_out(f"{self.intent} {self.text}", _HELD_OUT_ONE_IN)

    @property
    def meaning(self) -> tuple[str, ...]:
        """What sentences of different templates have in common that ask for the same thing: intent, slots, domains."""
        return (self.intent, *(f"{slot}={value}" for slot, value in sorted(self.slots.items())), *self.domains)


class Home:
    """The templates of one language and a way to speak them."""

    def __init__(self, language: str) -> None:
        path = Path(home_assistant_intents.__file__).parent / "data" / f"{language}.json"
        self._raw = json.loads(path.read_text(encoding="utf-8"))
        self._language = language
        parsed = hassil.Intents.from_dict(self._raw)
        self._lists, self._rules = parsed.slot_lists, parsed.expansion_rules

    def templates(self, split: str) -> list[Template]:
        """The templates of ``train`` or ``dev``. Of every meaning at least one template is in ``train``."""
        every = [template for intent, body in self._raw["intents"].items() for template in self._all(intent, body)]
        taught = {template.meaning for template in every if not template.held_out}
        train, dev = [], []
        for template in every:
            if template.held_out and template.meaning in taught:
                dev.append(template)
            else:
                train.append(template)
                taught.add(template.meaning)
        return dev if split == "dev" else train

    def _all(self, intent: str, body: dict[str, Any]) -> Iterator[Template]:
        for data in body["data"]:
            yield from self._of(intent, data)

    def _of(self, intent: str, data: dict[str, Any]) -> Iterator[Template]:
        domain = data.get("requires_context", {}).get("domain", "light")
        domains = tuple(domain) if isinstance(domain, list) else (domain,)
        for text in data["sentences"]:
            yield Template(intent, self._language, text, hassil.parse_sentence(text), data.get("slots", {}), domains)

    def speak(self, template: Template, rng: random.Random) -> tuple[str, assistant.ToolCall]:
        """One sentence of the template with its slots filled at random, and the call that it means."""
        filling = _Filling(self._language, self._lists, self._rules, template.domains, rng)
        text = " ".join(filling.say(template.sentence.expression).split())
        slots = {**template.slots, **filling.slots}
        order = [slot for slot in _FIRST_SLOTS if slot in slots] + sorted(set(slots) - set(_FIRST_SLOTS))
        return text, assistant.ToolCall(template.intent, {slot: slots[slot] for slot in order})


class _Filling:
    """One random walk through a template's grammar; gathers the slots that it fills on the way."""

    def __init__(
        self, language: str, lists: dict[str, Any], rules: dict[str, Any], domains: Sequence[str], rng: random.Random
    ) -> None:
        self._language, self._lists, self._rules, self._domains, self._rng = language, lists, rules, domains, rng
        self.slots: dict[str, Any] = {}

    def say(self, node: Any) -> str:
        """The words of one node of the grammar."""
        if isinstance(node, grammar.TextChunk):
            return str(node.original_text)
        if isinstance(node, grammar.RuleReference):
            return self.say(self._rules[node.rule_name].expression)
        if isinstance(node, grammar.ListReference):
            text, value = self._pick(node.list_name)
            self.slots[node.slot_name] = value
            return text
        if isinstance(node, grammar.Alternative):
            return self.say(self._rng.choice(node.items))
        if isinstance(node, grammar.Permutation):
            return " ".join(self.say(item) for item in self._rng.sample(node.items, len(node.items)))
        return "".join(self.say(item) for item in node.items)

    def _pick(self, list_name: str) -> tuple[str, Any]:
        language, rng = self._language, self._rng
        if list_name == "area":
            area = self._area()
            return area, area
        if list_name == "name":
            name = self._name()
            return name, name
        if list_name == "floor":
            floor = rng.choice(vocabulary.FLOORS[language])
            return floor, floor
        known = self._lists[list_name]
        if isinstance(known, TextSlotList):
            value = rng.choice(known.values)
            return self.say(value.text_in), value.value_out
        if isinstance(known, RangeSlotList):
            number = rng.choice(list(known.get_numbers()))
            return str(number), number * int(known.multiplier or 1)
        wildcard = rng.choice(vocabulary.WILDCARDS[language][list_name])
        return wildcard, wildcard

    def _area(self) -> str:
        area = self._rng.choice(vocabulary.AREAS[self._language])
        if self._rng.random() < 0.2:
            owner = self._rng.choice(vocabulary.OWNERS[self._language])
            return f"{owner} 방" if self._language == "ko" else f"{owner}'s room"
        return area

    def _name(self) -> str:
        domain = _ALIASES.get(domain := self._rng.choice(self._domains), domain)
        device = self._rng.choice(vocabulary.DEVICES[self._language][domain])
        if domain in ("weather", "person") or self._rng.random() < 0.4:
            return device
        words = vocabulary.MODIFIERS if self._rng.random() < 0.7 else vocabulary.OWNERS
        return f"{self._rng.choice(words[self._language])} {device}"


def examples(language: str, split: str, seed: int) -> Iterator[Example]:
    """Home commands without end: every template in turn, in random order, each time with other words in its slots."""
    home = Home(language)
    rng = random.Random(f"home {language} {split} {seed}")
    templates = home.templates(split)
    while True:
        for template in rng.sample(templates, len(templates)):
            text, call = home.speak(template, rng)
            yield Example(
                messages=tuple(assistant.messages(assistant.AssistantRequest(text, assistant.HOME))),
                answer=assistant.render(call),
                source="home",
                group=f"{call.name}: {template.text}",
                language=language,
            )
