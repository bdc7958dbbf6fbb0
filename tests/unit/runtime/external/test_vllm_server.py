from tests.scripted.vllm import ScriptedVllm

from seodang.runtime.external.vllm_server import ServedThere, VllmServer
from seodang.worker.messages import ExternalServer


async def served(scripted: ScriptedVllm, model: str = "") -> ServedThere:
    server = VllmServer(ExternalServer(url=scripted.url, model=model))
    with scripted.up():
        found = await server.served()
        await server.close()
    return found


async def test_an_adapter_has_the_context_of_what_it_adapts() -> None:
    scripted = ScriptedVllm()
    scripted.models = [
        {"id": "base", "max_model_len": 512, "parent": None},
        {"id": "robot", "max_model_len": None, "parent": "base"},
    ]
    assert await served(scripted, "robot") == ServedThere("robot", 512)
    assert await served(scripted) == ServedThere("base", 512)


def test_a_key_is_in_no_text() -> None:
    assert "s3cr3t" not in repr(ExternalServer(url="http://a", api_key="s3cr3t"))
    assert "s3cr3t" not in str(VllmServer(ExternalServer(url="http://a", api_key="s3cr3t")))
