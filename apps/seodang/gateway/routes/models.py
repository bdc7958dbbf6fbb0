"""``GET /v1/models`` and ``GET /v1/models/{model}``."""

from fastapi import APIRouter
from starlette.responses import JSONResponse

from seodang.api.inference.v1 import model_pb2
from seodang.gateway.upstreams import Held, Upstreams, resource_name, short_name


def router(upstreams: Upstreams) -> APIRouter:
    """The paths, answered by ``upstreams``."""
    routes = APIRouter(tags=["models"])

    @routes.get("/v1/models")
    async def list_models() -> JSONResponse:
        """The models of teacher and student server; a header names the server that does not answer."""
        held, down = await upstreams.models()
        if down and not held:
            raise down[0]
        headers = {"X-Seodang-Incomplete": "; ".join(error.message for error in down)} if down else {}
        return JSONResponse({"object": "list", "data": [_entry(model) for model in held]}, headers=headers)

    @routes.get("/v1/models/{model:path}")
    async def retrieve_model(model: str) -> JSONResponse:
        """One model."""
        return JSONResponse(_entry(await upstreams.find(resource_name(model))))

    return routes


def _entry(held: Held) -> dict[str, object]:
    model = held.model
    return {
        "id": short_name(model.name),
        "object": "model",
        "created": 0,  # required by OpenAI's clients; the mesh does not know when a model was made
        "owned_by": "seodang",
        "server": held.upstream.name,
        "state": model_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower(),
        "architecture": model.architecture,
        "context_tokens": model.context_tokens,
        "total_parameters": model.total_parameters,
        "active_parameters": model.active_parameters,
        "weights_sha256": model.weights_sha256,
    }
