"""The jobs that make the bundled students are jobs."""

from pathlib import Path

import pytest
from google.protobuf import json_format

from seodang.api.distill.v1 import job_pb2
from seodang.distillation import CORPORA, spec_from_proto
from seodang.distillation.spec import CorpusSource

JOBS = sorted((Path(__file__).parents[3] / "models" / "students" / "jobs").glob("*.json"))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_bundled_job_is_valid_and_fair(path: Path) -> None:
    spec = spec_from_proto(json_format.Parse(path.read_text(), job_pb2.JobSpec()), own_teacher="127.0.0.1:7101")
    assert spec.student == path.stem
    assert isinstance(spec.data.source, CorpusSource)
    assert spec.data.source.name in CORPORA
    assert [baseline.recipe.kind for baseline in spec.baselines] == ["no_teacher"]
    assert spec.gate.beat_baselines
    assert spec.gate.max_points_below_teacher == 5


def test_there_is_one_for_each_adapter_and_a_small_one() -> None:
    assert [path.stem for path in JOBS] == ["assistant", "demo", "messaging", "robot", "search"]


def test_the_small_job_needs_nothing_outside_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEODANG_DATA_DIR", str(tmp_path))
    demo = next(path for path in JOBS if path.stem == "demo")
    spec = spec_from_proto(json_format.Parse(demo.read_text(), job_pb2.JobSpec()), own_teacher="127.0.0.1:7101")
    assert isinstance(spec.data.source, CorpusSource)
    assert CORPORA[spec.data.source.name].missing() == ""
