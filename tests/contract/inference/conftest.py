"""Every promise of InferenceService is tested on teacher and student server alike, and with a real vLLM behind one."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.serving import Serving, start_server
from tests.vllm_server import REAL_VLLM, VllmProcess, needs_vllm, start_vllm

from seodang.client import AsyncClient, Client

OURS = [] if REAL_VLLM else ["teacher", "student"]


@pytest.fixture(scope="session", params=[*OURS, pytest.param("external", marks=needs_vllm)])
def server(request: pytest.FixtureRequest) -> Serving:
    """One server after the other; each serves the same ``models/tiny``, the external one another family of it."""
    serving: Serving = request.getfixturevalue(request.param)
    return serving


@pytest.fixture(autouse=True)
def _skip_what_needs_our_engine(request: pytest.FixtureRequest) -> None:
    on_vllm = REAL_VLLM and "server" in request.fixturenames
    if on_vllm and request.node.get_closest_marker("own_engine"):
        pytest.skip("takes logits or hidden states, or describes our own engine")


@pytest.fixture(scope="session")
def vllm(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmProcess]:
    """A family and a width of heads that vLLM computes on a CPU, with all that the contract may ask for."""
    from tests import tiny_checkpoints

    folder = tmp_path_factory.mktemp("vllm") / "tiny"
    tiny_checkpoints.build(folder, "qwen3", max_position_embeddings=4096, head_dim=32)
    (folder / "chat_template.jinja").write_bytes((checkpoints / "tiny" / "chat_template.jinja").read_bytes())
    options = (
        "--max-model-len",
        "4096",
        "--max-logprobs",
        "64",
        "--enable-prompt-tokens-details",
        "--block-size",
        "32",
    )
    with start_vllm(folder, folder.parent, *options) as process:
        yield process


@pytest.fixture(scope="session")
def external(vllm: VllmProcess, checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A teacher process that has config and tokenizer only, in front of vLLM."""
    from tests import tiny_checkpoints

    folder = tmp_path_factory.mktemp("external")
    files = folder / "files"
    files.mkdir()
    tiny_checkpoints.config_of("qwen3", max_position_embeddings=4096, head_dim=32).save_pretrained(files)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (files / name).write_bytes((checkpoints / "tiny" / name).read_bytes())
    with start_server(
        "teacher",
        folder,
        folder=files,
        model="models/tiny",
        engine_url=vllm.url,
        max_batch=2,
        max_waiting=4,
        unread_tokens=64,
        threads=1,
    ) as serving:
        yield serving


@pytest.fixture
def client(server: Serving) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
async def aclient(server: Serving) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.address) as client:
        yield client
