"""API keys."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AuthenticationError

from seodang.base.errors import InvalidInput
from seodang.gateway import GatewaySettings
from seodang.gateway.access import KeyRing

KEY = "sk-seodang-7c1f"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    path.write_text(f"# who may come in\n{'0' * 64} nobody\n\n{digest} team-a  # since spring\n")
    return path


async def test_a_known_key_opens(mesh: Any, keys: Path) -> None:
    client = mesh.openai(await mesh.start(api_keys_file=keys), api_key=KEY)
    assert [model.id for model in (await client.models.list()).data] == ["assistant", "robot", "teacher-mini"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/robot", "/v1/chat/completions"])
async def test_without_a_key_the_api_is_closed(mesh: Any, keys: Path, path: str) -> None:
    url = await mesh.start(api_keys_file=keys)
    async with httpx.AsyncClient(base_url=url) as http:
        reply = await http.request("POST" if "chat" in path else "GET", path, json={})
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "missing_api_key"
    assert reply.headers["www-authenticate"] == "Bearer"


async def test_a_wrong_key_is_refused(mesh: Any, keys: Path) -> None:
    client = mesh.openai(await mesh.start(api_keys_file=keys), api_key=KEY + "x")
    with pytest.raises(AuthenticationError, match="not known here"):
        await client.models.list()


async def test_probes_and_webhooks_need_no_key(mesh: Any, keys: Path) -> None:
    url = await mesh.start(api_keys_file=keys)
    async with httpx.AsyncClient(base_url=url) as http:
        statuses = [(await http.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics")]
        statuses.append((await http.post("/webhooks/slack", content=b"{}")).status_code)
    assert statuses == [200, 200, 200, 200]


async def test_the_log_knows_callers_by_name_and_never_by_key(mesh: Any, keys: Path, caplog: Any, until: Any) -> None:
    caplog.set_level("INFO")
    client = mesh.openai(await mesh.start(api_keys_file=keys), api_key=KEY)
    await client.models.list()
    await until(lambda: "caller=team-a" in caplog.text, "the request is logged")
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [("sk-plain-key team\n", ":1: not '<sha256"), ("# nothing\n", "holds no key"), (None, "cannot be read")],
    ids=["plain", "empty", "missing"],
)
def test_a_bad_file_of_keys_is_refused(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidInput, match=says):
        KeyRing.load(path)


def test_being_open_is_said_loudly(caplog: Any) -> None:
    KeyRing.load(None)
    assert "NO API KEYS" in caplog.text


def test_the_gateway_does_not_open_to_the_network_by_accident() -> None:
    with pytest.raises(InvalidInput, match="API_KEYS_FILE"):
        GatewaySettings(host="0.0.0.0").check_exposure()
    GatewaySettings(host="0.0.0.0", allow_anonymous=True).check_exposure()
    GatewaySettings(host="127.0.0.1").check_exposure()
