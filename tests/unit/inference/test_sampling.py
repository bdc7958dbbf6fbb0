"""What unset sampling fields mean."""

from pathlib import Path

import pytest

from seodang.base.errors import InvalidInput
from seodang.inference import read_defaults
from seodang.worker.messages import SamplingParams


def test_a_model_without_defaults_samples_from_its_own_distribution(tmp_path: Path) -> None:
    assert read_defaults(tmp_path) == SamplingParams()


def test_the_model_s_own_file_gives_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(
        '{"temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": null, "repetition_penalty": 1.1, "eos_token_id": 2}'
    )
    assert read_defaults(tmp_path) == SamplingParams(temperature=0.6, top_k=20, top_p=0.95, repetition_penalty=1.1)


def test_a_model_that_does_not_sample_is_greedy(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"do_sample": false, "top_k": 0}')
    assert read_defaults(tmp_path) == SamplingParams(temperature=0.0, top_k=None)


@pytest.mark.parametrize("text", ["{", "[]", '{"temperature": "hot"}', '{"top_p": 7}', '{"top_k": true}'])
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"generation_config\.json"):
        read_defaults(tmp_path)
