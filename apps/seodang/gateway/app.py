"""The gateway's app, put together."""

from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI

from seodang.capture import Recorder
from seodang.gateway import failures
from seodang.gateway.access import KeyRing
from seodang.gateway.generation import Inference
from seodang.gateway.ledger import Ledger
from seodang.gateway.metrics import Metrics
from seodang.gateway.presence import Presence
from seodang.gateway.routes import chat, completions, embeddings, models, probes, webhooks
from seodang.gateway.settings import GatewaySettings
from seodang.gateway.upstreams import Upstreams


def create_app(settings: GatewaySettings, upstreams: Upstreams, recorder: Recorder | None = None) -> FastAPI:
    """The whole HTTP surface in front of ``upstreams``, whose lifetime is the caller's, like that of ``recorder``.

    Raises:
        InvalidInput: the file of API keys is not one.
    """
    metrics = Metrics()
    if recorder is not None:
        metrics.show_captured(recorder.outcomes)
    keys = KeyRing.load(settings.api_keys_file)
    inference = Inference(upstreams, metrics, settings.request_timeout_s)
    v1 = APIRouter(dependencies=[Depends(keys.admit)])
    v1.include_router(models.router(upstreams))
    v1.include_router(chat.router(inference, recorder))
    v1.include_router(completions.router(inference))
    v1.include_router(embeddings.router(inference))

    app = FastAPI(title="Seodang gateway", version=version("seodang"), redoc_url=None)
    app.include_router(v1)
    app.include_router(probes.router(upstreams, metrics))
    app.include_router(webhooks.router(upstreams, settings.webhook_timeout_s))
    failures.install(app)
    app.add_middleware(
        Presence,
        max_body_bytes=settings.max_body_bytes,
        on_leave=lambda scope: metrics.abandoned.labels(getattr(scope.get("route"), "path", "unmatched")).inc(),
    )
    app.add_middleware(Ledger, metrics=metrics)
    return app
