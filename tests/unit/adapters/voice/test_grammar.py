"""What can be heard: the automata that templates become, and the words of the default home."""

import random
from collections import defaultdict

import pytest

from seodang.adapters.voice.recogniser import grammar
from seodang.adapters.voice.recogniser.automaton import BLANK, Automaton, Sentences
from seodang.adapters.voice.recogniser.home import Home, default_homes
from seodang.base.errors import InvalidInput
from seodang.corpora import home_vocabulary


def accepts(automaton: Automaton, sentence: str) -> bool:
    """Is there a path whose words make the sentence?"""
    following = defaultdict(list)
    for source, word, target in automaton.arcs:
        following[source].append((word, target))
    waiting = [(automaton.start, [])]
    while waiting:
        state, words = waiting.pop()
        text = grammar.spoken_text(words)
        if text == sentence and state in automaton.finals:
            return True
        if sentence.startswith(text):
            waiting += [(target, [*words, word]) for word, target in following[state]]
    return False


@pytest.fixture(scope="module")
def automata() -> dict[str, Automaton]:
    return {language: grammar.build(language, home) for language, home in default_homes().items()}


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("ko", "거실 불 켜줘"),
        ("ko", "거실에 있는 모든 불 꺼줘"),
        ("ko", "침실 온도 23도로 맞춰"),
        ("ko", "3시간 타이머 시작해"),
        ("ko", "지금 몇 시야"),
        ("ko", "서재 밝기를 50퍼센트로 설정"),
        ("en", "turn on the living room lights"),
        ("en", "set a timer for 25 minutes"),
        ("en", "turn on the tv"),
    ],
)
def test_usual_commands_can_be_heard(automata: dict[str, Automaton], language: str, sentence: str) -> None:
    assert accepts(automata[language], sentence)


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("ko", "거실 불"),
        ("ko", "우주선 불 켜줘"),
        ("ko", "켜줘 거실 불"),
        ("ko", "에어컨 열어줘"),
        ("en", "turn on the moon lights"),
        ("en", "unlock the tv"),
    ],
)
def test_other_sentences_cannot(automata: dict[str, Automaton], language: str, sentence: str) -> None:
    assert not accepts(automata[language], sentence)


def test_the_automata_are_small_and_what_they_accept_is_not(automata: dict[str, Automaton]) -> None:
    assert max(len(automaton.arcs) for automaton in automata.values()) < 4_000
    assert {language: _count(automaton) > 10_000 for language, automaton in automata.items()} == {
        "ko": True,
        "en": True,
    }


def test_equal_ends_are_merged() -> None:
    sentences = Sentences()
    for first in ("a", "b", "c"):
        middle, last = sentences.state(), sentences.state()
        sentences.arc(sentences.start, first, middle)
        sentences.arc(middle, BLANK, last)
        sentences.arc(last, "end", sentences.end)
    assert len(sentences.minimal().arcs) == 4


def test_a_word_without_a_blank_before_it_is_joined() -> None:
    sentences = Sentences()
    middle = sentences.state()
    sentences.arc(sentences.start, "거실", middle)
    sentences.arc(middle, "에", sentences.end)
    automaton = sentences.minimal()
    assert automaton.words == {"거실", "_에"}
    assert grammar.spoken_text(["거실", "_에", "있는", "불"]) == "거실에 있는 불"


def test_the_home_has_names_that_students_are_taught() -> None:
    for language, home in default_homes().items():
        assert set(home.areas) <= set(home_vocabulary.AREAS[language])
        for domain, names in home.devices.items():
            assert set(names) <= set(home_vocabulary.DEVICES[language][domain])


def test_a_home_without_a_place_still_hears_what_needs_none() -> None:
    automaton = grammar.build("ko", Home())
    assert accepts(automaton, "지금 몇 시야")
    assert not accepts(automaton, "거실 불 켜줘")


def test_a_language_without_templates_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ko, en"):
        grammar.build("fr", Home())


def test_random_paths_through_the_grammar_are_sentences_of_it(automata: dict[str, Automaton]) -> None:
    rng = random.Random(3)
    for automaton in automata.values():
        following = defaultdict(list)
        for source, word, target in automaton.arcs:
            following[source].append((word, target))
        for _ in range(20):
            state, words = automaton.start, []
            while not (state in automaton.finals and (not following[state] or rng.random() < 0.5)):
                word, state = rng.choice(following[state])
                words.append(word)
            assert accepts(automaton, grammar.spoken_text(words))


def _count(automaton: Automaton) -> int:
    following = defaultdict(list)
    for source, _, target in automaton.arcs:
        following[source].append(target)
    counts: dict[int, int] = {}

    def count(state: int) -> int:
        if state not in counts:
            counts[state] = (state in automaton.finals) + sum(count(target) for target in following[state])
        return counts[state]

    return count(automaton.start)
