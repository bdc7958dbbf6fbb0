"""pocketsphinx with the commands of one home in one language."""

import os
import threading
from collections.abc import Callable

import numpy as np
from pocketsphinx import Decoder, get_model_path

from seodang.adapters.voice.endpointing import has_speech
from seodang.adapters.voice.recogniser import grammar, korean
from seodang.adapters.voice.recogniser.any_speech import AnySpeech
from seodang.adapters.voice.recogniser.english import EnglishDictionary
from seodang.adapters.voice.recogniser.home import Home
from seodang.adapters.voice.sound import Sound

RATE = 16_000
_SEARCH = "commands"
# Korean is heard with an English model, whose scores of the right path are low: narrower beams lose it.
_BEAM = 1e-60
_MAX_ACTIVE = 5_000
# A little faint noise before and after: without it the first and the last sound of an utterance that was cut closely
# are lost, and most Korean commands with them.
_MARGIN_S = 0.3
_MARGIN_RMS = 8.0
# A grammar hears a command in whatever is said. Where phones in any order explain a second of it this much better than
# the command does, it was none; the README has the errors of both kinds that were measured. Korean in English phones
# fits less well when it is right, too.
_MAX_DOUBT = {"ko": 0.15, "en": 0.11}


class CommandDecoder:
    """Hears the commands of one language. One utterance at a time; calls from several threads wait for each other."""

    def __init__(self, language: str, home: Home) -> None:
        automaton = grammar.build(language, home)
        self._lock = threading.Lock()
        self._any_speech = AnySpeech()
        self._max_doubt = _MAX_DOUBT[language]
        self._decoder = Decoder(
            hmm=get_model_path("en-us/en-us"),
            dict=os.devnull,
            lm=None,
            beam=_BEAM,
            pbeam=_BEAM,
            wbeam=_BEAM,
            maxhmmpf=_MAX_ACTIVE,
            bestpath=False,  # the lattice of a wide beam takes minutes to search
            loglevel="FATAL",
        )
        sounds: Callable[[str], list[str]] = (
            korean.pronunciations if language == "ko" else EnglishDictionary().pronunciations
        )
        for word in sorted(automaton.words):
            for number, phones in enumerate(sounds(word), start=1):
                self._decoder.add_word(word if number == 1 else f"{word}({number})", phones, False)
        end = 1 + max(automaton.finals | {source for source, _, _ in automaton.arcs})
        paths: list[tuple[object, ...]] = [(source, target, 1.0, word) for source, word, target in automaton.arcs]
        paths += [(final, end, 1.0) for final in automaton.finals]
        self._decoder.add_fsg(_SEARCH, self._decoder.create_fsg(_SEARCH, automaton.start, end, paths))
        self._decoder.activate_search(_SEARCH)

    def transcribe(self, sound: Sound) -> str:
        """The command that the sound is most like; empty if nobody speaks or it is like none."""
        if not has_speech(sound):
            return ""
        pcm = _with_margins(sound.resampled(RATE)).pcm
        with self._lock:
            self._decoder.start_utt()
            self._decoder.process_raw(pcm, full_utt=True)
            self._decoder.end_utt()
            heard = self._decoder.hyp()
            if heard is None or self._any_speech.doubt(pcm, heard.score) > self._max_doubt:
                return ""
        return grammar.spoken_text(heard.hypstr.split())


def _with_margins(sound: Sound) -> Sound:
    noise = np.random.default_rng(0).normal(0, _MARGIN_RMS, (2, int(_MARGIN_S * sound.rate))).astype(np.int16)
    return Sound(sound.rate, np.concatenate([noise[0], sound.samples, noise[1]]))
