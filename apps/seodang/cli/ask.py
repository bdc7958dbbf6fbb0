"""`seodang ask`: one question to one model, its answer as it comes."""

from rich.console import Console

from seodang.api.inference.v1 import generate_pb2
from seodang.client import AsyncClient, chat
from seodang.client.generation import RoleName
from seodang.rpc import from_fault


async def ask(address: str, model: str, question: str, system: str, max_new_tokens: int, console: Console) -> None:
    """Streams the greedy answer of ``model`` at ``address`` to the console."""
    turns: list[tuple[RoleName, str]] = [("system", system)] if system else []
    request = generate_pb2.GenerateRequest(
        model=model,
        prompt=chat([*turns, ("user", question)]),
        sampling=generate_pb2.Sampling(temperature=0),
        max_new_tokens=max_new_tokens,
    )
    async with AsyncClient(address) as client:
        async for event in client.inference.Generate(request, timeout=300):
            if event.HasField("fault"):
                raise from_fault(event.fault)
            console.print(event.delta.text, end="", markup=False, highlight=False)
    console.print()
