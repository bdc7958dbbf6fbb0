"""A model from elsewhere becomes a student through the real server: its own tokenizer, adapters, a teacher of another
family; then it is published, verified and served like any other.
"""

import shutil
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format
from tests import tiny_tokenizers
from tests.integration.distill.promoted import ask_promoted
from tests.integration.distill.requests import create, watch
from tests.integration.distill.server_process import server_process
from tests.integration.distill.test_real_worker import check_chain, sums
from tests.serving import Serving

from seodang.api.distill.v1 import job_pb2
from seodang.api.registry.v1 import registry_pb2
from seodang.client import AsyncClient
from seodang.distill.settings import DistillSettings
from seodang.distillation.spec import DenseShape
from seodang.distillation.tokenizer_files import tokenizer_sha256
from seodang.distillation.training import build_student
from seodang.provenance import read_provenance


def model_from_elsewhere(folder: Path) -> Path:
    """A small model with a SentencePiece tokenizer and more rows in its table than that has tokens."""
    tokenizer = tiny_tokenizers.sentence_piece_bpe()
    tokenizer.save_pretrained(folder.parent / "tokenizer")
    shape = DenseShape(hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=64)
    student = build_student(shape, 352, tokenizer.eos_token_id, context_tokens=128, seed=1)
    student.save(folder, folder.parent / "tokenizer")
    return folder


async def next_generation(address: str, spec: job_pb2.JobSpec, version_name: str) -> Path:
    """The version can itself be a base, and the next one says which it was; returns the version's folder."""
    async with AsyncClient(address) as client:
        version = (await client.registry.GetVersion(registry_pb2.GetVersionRequest(name=version_name))).version
        shape = job_pb2.AdapterShape(base=version.folder, rank=2, target_modules=["q_proj"])
        again = job_pb2.JobSpec()
        again.CopyFrom(spec)
        again.student = "next"
        again.shape.CopyFrom(job_pb2.StudentShape(adapter=shape, tokenizer=version.folder))
        jobs, _ = await watch(client, (await create(client, again)).name, timeout_s=400)
        assert jobs[-1].state == job_pb2.JOB_STATE_SUCCEEDED, jobs[-1]
        asked = registry_pb2.GetVersionRequest(name=jobs[-1].result.version)
        made = (await client.registry.GetVersion(asked)).version
    base = read_provenance(Path(made.folder)).lineage.base
    assert base is not None
    assert (base.name, base.sha256) == ("sums", version.sha256)
    return Path(version.folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_adapters_on_a_model_from_elsewhere_are_distilled_published_verified_and_served(
    teacher: Serving, checkpoints: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "sums.jsonl").write_text(sums())
    elsewhere = model_from_elsewhere(data / "elsewhere")
    spec = job_pb2.JobSpec(
        student="sums",
        teachers=[job_pb2.Teacher(model="models/tiny")],
        data=job_pb2.DataSpec(file="sums.jsonl", license="CC0-1.0", eval_examples=4),
        shape=job_pb2.StudentShape(adapter=job_pb2.AdapterShape(base="elsewhere", rank=4), tokenizer="elsewhere"),
        recipe=job_pb2.Recipe(kind=job_pb2.Recipe.KIND_CROSS_TOKENIZER, cross_entropy_weight=0.2),
        budget=job_pb2.Budget(steps=10, tokens_per_step=64, checkpoint_steps=5),
        gate=job_pb2.Gate(max_parameter_share=1.0, promote_to="production"),
    )
    settings = DistillSettings(
        state_dir=tmp_path / "state", teacher_address=teacher.address, data_roots=(data,),
        worker_command=(sys.executable, "-m", "seodang.distillation"),
    )  # fmt: skip
    async with server_process(settings, tmp_path) as server:
        async with AsyncClient(server.address) as client:
            jobs, _ = await watch(client, (await create(client, spec)).name, timeout_s=400)
        assert jobs[-1].state == job_pb2.JOB_STATE_SUCCEEDED, jobs[-1]
        assert not jobs[-1].result.measurements[1].HasField("forward_kl")
        published = await next_generation(server.address, spec, jobs[-1].result.version)
        served = await ask_promoted("models/sums@production", server.address, tmp_path)
        assert served.name == jobs[-1].result.version
        assert served.tokenizer_sha256 == tokenizer_sha256(elsewhere)
    folder = shutil.copytree(published, tmp_path / "bundled")
    (folder / "record.json").write_text(json_format.MessageToJson(jobs[-1]))
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    check_chain(folder, settings.state_dir / "signing-key.pem", checkpoints / "tiny", tmp_path)
