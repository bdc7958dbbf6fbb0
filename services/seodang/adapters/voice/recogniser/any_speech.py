"""How well sound is explained by any speech at all: what a command has to compare with to be believed."""

import math
import os
from typing import Final

from pocketsphinx import Decoder, get_model_path

_SEARCH: Final = "any-speech"
_BEAM: Final = 1e-20
_MAX_ACTIVE: Final = 1_000
_PHONES: Final = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip


class AnySpeech:
    """A loop over all phones, each as likely as the others. One utterance at a time."""

    def __init__(self) -> None:
        self._decoder = Decoder(
            hmm=get_model_path("en-us/en-us"),
            dict=os.devnull,
            lm=None,
            beam=_BEAM,
            pbeam=_BEAM,
            wbeam=_BEAM,
            maxhmmpf=_MAX_ACTIVE,
            bestpath=False,
            loglevel="FATAL",
        )
        paths = []
        for phone in _PHONES:
            self._decoder.add_word(f"any-{phone}", phone, False)
            paths += [(0, 0, 1 / len(_PHONES), f"any-{phone}"), (0, 1, 1.0, f"any-{phone}")]
        self._decoder.add_fsg(_SEARCH, self._decoder.create_fsg(_SEARCH, 0, 1, paths))
        self._decoder.activate_search(_SEARCH)

    def doubt(self, pcm: bytes, score: float) -> float:
        """How much better any speech explains each second of the sound than a hypothesis with ``score`` does.

        Args:
            pcm: samples at the acoustic model's rate.
            score: pocketsphinx's own of the hypothesis, over the same sound.

        Returns:
            The difference of the scaled log-likelihoods a second; 0 where no phone is heard either.
        """
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        if heard is None or not heard.score:
            return 0.0
        if not score:
            return math.inf
        seconds = self._decoder.n_frames() / int(self._decoder.config["frate"])
        return float(math.log(heard.score / score) / seconds)
