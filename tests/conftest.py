"""What several kinds of tests share: tiny random checkpoints, and the servers that serve them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving import Serving, start_server

# Renders every part of a conversation, so that tests see whether each of them arrives.
CHAT_TEMPLATE = (
    "{% for tool in tools or [] %}<|system|>{{ tool['function'] | tojson }}<eos>{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.tool_call_id %}[{{ m.tool_call_id }}]{% endif %}{{ m.content }}"
    "{% for call in m.tool_calls or [] %}{{ call['function'] | tojson }}{% endfor %}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if enable_thinking is defined %}({{ enable_thinking }}){% endif %}"
    "{% endif %}"
)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoint folders: ``tiny`` (A.X K1), ``llama`` and ``qwen3``, all with room for 4,096 tokens."""
    from tests import tiny_checkpoints

    root = tmp_path_factory.mktemp("checkpoints")
    for name, family in (("tiny", "axk1"), ("llama", "llama"), ("qwen3", "qwen3")):
        tiny_checkpoints.build(root / name, family, max_position_embeddings=4096)
        (root / name / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return root


@pytest.fixture(scope="session")
def teacher(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A teacher process with ``models/tiny``, two slots, four places to wait."""
    with start_server(
        "teacher",
        tmp_path_factory.mktemp("teacher"),
        folder=checkpoints / "tiny",
        model="models/tiny",
        max_batch=2,
        max_waiting=4,
        cache_bytes=8 * 2**20,
        unread_tokens=64,
        threads=1,
    ) as serving:
        yield serving


@pytest.fixture(scope="session")
def student(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A student process with all three models, each with two slots and four places to wait."""
    folder = tmp_path_factory.mktemp("student")
    with start_server(
        "student",
        folder,
        model_roots=checkpoints,
        state_dir=folder / "state",
        max_batch=2,
        max_waiting=4,
        cache_bytes=8 * 2**20,
        unread_tokens=64,
        threads=1,
    ) as serving:
        yield serving
