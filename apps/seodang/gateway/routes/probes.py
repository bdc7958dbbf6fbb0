"""``/healthz``, ``/readyz`` and ``/metrics``: for balancers and Prometheus, without a key."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from seodang.gateway.metrics import Metrics
from seodang.gateway.upstreams import Upstreams


def router(upstreams: Upstreams, metrics: Metrics) -> APIRouter:
    """The paths."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/healthz")
    async def alive() -> JSONResponse:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    @routes.get("/readyz")
    async def ready() -> JSONResponse:
        """200 when at least one inference server serves, 503 otherwise; the body says how each one stands."""
        servers = await upstreams.health()
        serves = "serving" in servers.values()
        body = {"status": "ready" if serves else "not_ready", "servers": dict(servers)}
        return JSONResponse(body, 200 if serves else 503)

    @routes.get("/metrics")
    async def exposition() -> Response:
        """The counters, in Prometheus's text format."""
        return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return routes
