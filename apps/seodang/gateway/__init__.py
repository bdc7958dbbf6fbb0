"""The mesh for everyone who speaks OpenAI's HTTP API, and the messengers' webhooks. It never imports torch."""

from seodang.gateway.app import create_app
from seodang.gateway.settings import GatewaySettings
from seodang.gateway.upstreams import Upstreams

__all__ = ["GatewaySettings", "Upstreams", "create_app"]
