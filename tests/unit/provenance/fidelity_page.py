"""A reader of fidelity.html that knows nothing of how it is made."""

import json
from html.parser import HTMLParser
from typing import Any


class FidelityPage(HTMLParser):
    """The facts of a page by their place in fidelity.json, the text of each, and what the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}
        self.texts: dict[str, str] = {}
        self.loads: list[str] = []
        self.links: list[str] = []
        self.pictures: list[str] = []
        self._fact = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes facts, links and whatever a browser would fetch."""
        given = dict(attrs)
        self._fact = given.get("data-fact") or ""
        if self._fact:
            self.values[self._fact] = json.loads(given.get("data-value") or "null")
        if tag == "a":
            self.links.append(given.get("href") or "")
        if tag == "svg":
            self.pictures.append(given.get("aria-label") or "")
        if tag in ("script", "link", "img", "iframe", "object", "embed", "image", "use"):
            self.loads.append(tag)

    def handle_data(self, data: str) -> None:
        """The first text inside a fact is how it is shown."""
        if self._fact:
            self.texts.setdefault(self._fact, data)
            self._fact = ""


def at(report: Any, fact: str) -> Any:
    """What fidelity.json says at a fact's place."""
    for part in fact.split("/"):
        report = report[int(part) if part.isdigit() else part]
    return report


def number_of(text: str) -> float:
    """The number that a cell shows, a share for per cent."""
    first = text.replace(",", "").split()[0]
    return float(first) / 100 if "%" in text else float(first)
