"""What the gateway counts, for Prometheus."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from seodang.api.types.v1 import usage_pb2
from seodang.capture import Outcome

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The counters of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "seodang_gateway_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "seodang_gateway_request_seconds",
            "From the request's first byte to the answer's last.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.abandoned = Counter(
            "seodang_gateway_abandoned",
            "Requests whose client left before the answer.",
            ("route",),
            registry=self.registry,
        )
        self.generations = Gauge(
            "seodang_gateway_generations_running", "Generations going on behind the gateway.", registry=self.registry
        )
        self.first_token_seconds = Histogram(
            "seodang_gateway_first_token_seconds",
            "From the call to the first token, as the gateway sees it.",
            ("model",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "seodang_gateway_tokens", "Tokens read, reused and written.", ("model", "kind"), registry=self.registry
        )
        self.tool_answers = Counter(
            "seodang_gateway_tool_answers",
            "Answers to requests that offered tools, by what they turned out to be.",
            ("model", "outcome"),
            registry=self.registry,
        )

    def show_captured(self, outcomes: Mapping[Outcome, int]) -> None:
        """Shows what became of captured exchanges, which somebody else counts."""
        self.registry.register(_Captured(outcomes))

    def count_usage(self, model: str, usage: usage_pb2.Usage) -> None:
        """Adds what one request consumed."""
        self.tokens.labels(model, "prompt").inc(usage.prompt_tokens)
        self.tokens.labels(model, "cached").inc(usage.cached_prompt_tokens)
        self.tokens.labels(model, "completion").inc(usage.completion_tokens)


class _Captured(Collector):
    def __init__(self, outcomes: Mapping[Outcome, int]) -> None:
        self._outcomes = outcomes

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The counts as they stand."""
        said = "Exchanges that people agreed to share for training, by what became of them."
        family = CounterMetricFamily("seodang_gateway_captured_exchanges", said, labels=("outcome",))
        for outcome, count in self._outcomes.items():
            family.add_metric((outcome,), count)
        yield family
