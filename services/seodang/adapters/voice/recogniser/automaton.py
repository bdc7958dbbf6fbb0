"""Finite sets of sentences as automata: built arc by arc, then made deterministic and minimal.

Templates say where blanks stand, recognisers hear words. So arcs are first labelled with words and blanks, and the
minimal automaton has words only: one with no blank before it is marked as joined to the word before.
"""

from collections.abc import Iterable
from dataclasses import dataclass

BLANK = " "
JOINED = "_"
_NOTHING = ""
_Configuration = tuple[int, bool]  # a state, and whether a blank was seen since the last word


@dataclass(frozen=True, slots=True)
class Automaton:
    """A deterministic automaton without circles: ``arcs`` are (from, word, to)."""

    start: int
    finals: frozenset[int]
    arcs: tuple[tuple[int, str, int], ...]

    @property
    def words(self) -> frozenset[str]:
        """Every word of every sentence, joined ones with their mark."""
        return frozenset(word for _, word, _ in self.arcs)


class Sentences:
    """A set of sentences under construction. States are numbers; ``start`` and ``end`` are those of every sentence."""

    def __init__(self) -> None:
        self._arcs: list[list[tuple[str, int]]] = []
        self.start, self.end = self.state(), self.state()

    def state(self) -> int:
        """A new state."""
        self._arcs.append([])
        return len(self._arcs) - 1

    def arc(self, source: int, symbol: str, target: int) -> None:
        """Lets a word, a BLANK or nothing lead from one state to another."""
        self._arcs[source].append((symbol, target))

    def minimal(self) -> Automaton:
        """The smallest automaton for the sentences made so far."""
        return _Minimiser(self._arcs, self.end).run(self.start)


class _Minimiser:
    """Determinises from the start and merges equal ends on the way back, which is enough where there is no circle."""

    def __init__(self, arcs: list[list[tuple[str, int]]], end: int) -> None:
        self._arcs = arcs
        self._end = end
        self._numbers: dict[frozenset[_Configuration], int] = {}
        self._nodes: dict[tuple[bool, tuple[tuple[str, int], ...]], int] = {}

    def run(self, start: int) -> Automaton:
        first = self._number(self._closed({(start, True)}))
        finals = frozenset(number for (is_final, _), number in self._nodes.items() if is_final)
        arcs = tuple((number, word, to) for (_, outs), number in self._nodes.items() for word, to in outs)
        return Automaton(first, finals, arcs)

    def _number(self, configurations: frozenset[_Configuration]) -> int:
        if configurations not in self._numbers:
            outs: dict[str, set[_Configuration]] = {}
            for state, spaced in configurations:
                for symbol, target in self._arcs[state]:
                    if symbol not in (_NOTHING, BLANK):
                        outs.setdefault(symbol if spaced else JOINED + symbol, set()).add((target, False))
            # A word that may stand apart or joined sounds the same; one spelling is enough.
            for word in [word for word in outs if JOINED + word in outs]:
                outs[JOINED + word] |= outs.pop(word)
            ends = sorted((word, self._number(self._closed(targets))) for word, targets in outs.items())
            node = (any(state == self._end for state, _ in configurations), tuple(ends))
            self._numbers[configurations] = self._nodes.setdefault(node, len(self._nodes))
        return self._numbers[configurations]

    def _closed(self, configurations: Iterable[_Configuration]) -> frozenset[_Configuration]:
        """With everything that is reached without a word."""
        reached: set[_Configuration] = set()
        waiting = list(configurations)
        while waiting:
            state, spaced = configuration = waiting.pop()
            if configuration in reached:
                continue
            reached.add(configuration)
            waiting += [
                (target, spaced or symbol == BLANK)
                for symbol, target in self._arcs[state]
                if symbol in (_NOTHING, BLANK)
            ]
        return frozenset(reached)
