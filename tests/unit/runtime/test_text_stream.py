import itertools
import random

import pytest

from seodang.runtime.text_stream import TextStream


def stream_of(pieces: list[bytes], **options: object) -> tuple[list[str], str]:
    """Released texts and the stop string, feeding one token a piece."""
    stream = TextStream(lambda index: pieces[index], **options)  # type: ignore[arg-type]
    texts = []
    for index in range(len(pieces)):
        release = stream.feed(index)
        texts.append(release.text)
        if release.stop:
            return texts, release.stop
    release = stream.finish()
    return [*texts, release.text], release.stop


def test_a_korean_syllable_waits_for_its_last_byte() -> None:
    texts, _ = stream_of([b"\xec\x84", b"\x9c", "당".encode()])
    assert texts == ["", "서", "당", ""]


def test_an_incomplete_character_at_the_end_becomes_a_replacement() -> None:
    texts, _ = stream_of([b"a", b"\xec\x84"])
    assert "".join(texts) == "a\ufffd"


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    texts, stop = stream_of([b"one EN", b"D of", b" it"], stops=("END.",))
    assert texts == ["one ", "END of", " it", ""]
    assert stop == ""


def test_a_stop_string_across_tokens_cuts_the_text() -> None:
    texts, stop = stream_of([b"x<", b"|e", b"nd|>y"], stops=("<|end|>",))
    assert "".join(texts) == "x"
    assert stop == "<|end|>"


def test_the_first_stop_string_to_appear_wins() -> None:
    texts, stop = stream_of([b"a bc"], stops=("c", "bc"))
    assert ("".join(texts), stop) == ("a ", "bc")


def test_the_stop_string_can_be_kept() -> None:
    texts, _ = stream_of([b"say ", b"stop now"], stops=("stop",), include_stop=True)
    assert "".join(texts) == "say stop"


def test_a_stop_string_that_only_the_end_completes_is_found() -> None:
    texts, stop = stream_of([b"x", b"\xec\x84"], stops=("\ufffd",))
    assert ("".join(texts), stop) == ("x", "\ufffd")


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_of_the_bytes_gives_the_same_text(seed: int) -> None:
    rng = random.Random(seed)
    whole = "서당 개 삼 년이면 풍월을 읊는다. aab aabaab 끝"
    stops = ("aabaabX", "년이다", "끝남")
    data = whole.encode()
    cuts = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.randrange(1, 30)))})
    pieces = [data[a:b] for a, b in itertools.pairwise(cuts)]
    texts, stop = stream_of(pieces, stops=stops)
    assert "".join(texts) == whole
    assert stop == ""
