"""Prometheus metrics. What means the same as in vLLM has vLLM's name, so that its dashboards work here.

Names and edges: vLLM 0.33, `vllm/v1/metrics/loggers.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ayllu.serve.access.request import RequestContext
from ayllu.serve.operations.course import Course
from ayllu.serve.served import Models

LATENCY = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0),
    *(1920.0, 7680.0),
)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    *(160.0, 640.0, 2560.0),
)
NEXT_TOKEN = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
TOKENS = tuple(mantissa * 10**power for power in range(6) for mantissa in (1, 2, 5))
HTTP = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
LABELS = ("model_name", "engine")


class Metrics:
    """All metrics of one server, in a registry of its own."""

    def __init__(self, models: Models) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_Queues(models))

        def histogram(name: str, told: str, edges: Iterable[float]) -> Histogram:
            return Histogram(f"vllm:{name}", told, LABELS, buckets=tuple(edges), registry=registry)

        def counter(name: str, told: str, *more: str) -> Counter:
            return Counter(f"vllm:{name}", told, (*LABELS, *more), registry=registry)

        self._prompt_tokens = counter("prompt_tokens", "Tokens of prompts that were read.")
        self._generated = counter("generation_tokens", "Tokens that were written.")
        self._finished = counter("request_success", "Answers by how they ended.", "finished_reason")
        self._first = histogram("time_to_first_token_seconds", "From a request to its first token.", FIRST_TOKEN)
        self._gap = histogram("inter_token_latency_seconds", "Between two tokens of an answer.", NEXT_TOKEN)
        self._mean = histogram("request_time_per_output_token_seconds", "Of an answer, for each token.", NEXT_TOKEN)
        self._whole = histogram("e2e_request_latency_seconds", "From a request to the end of its answer.", LATENCY)
        self._queued = histogram("request_queue_time_seconds", "In the queue.", LATENCY)
        self._running = histogram("request_inference_time_seconds", "In the engine.", LATENCY)
        self._prefill = histogram("request_prefill_time_seconds", "In the engine, up to the first token.", LATENCY)
        self._decode = histogram("request_decode_time_seconds", "From the first token to the last.", LATENCY)
        self._prompts = histogram("request_prompt_tokens", "Tokens of a prompt.", TOKENS)
        self._answers = histogram("request_generation_tokens", "Tokens of an answer.", TOKENS)
        self._most = histogram("request_params_max_tokens", "Most tokens that a request allowed.", TOKENS)
        self._key_tokens = Counter("ayllu_key_tokens", "Tokens by key.", ("key", "kind"), registry=registry)
        self._requests = Counter(
            "http_requests", "Requests by route and status.", ("method", "handler", "status"), registry=registry
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From a request's head to the end of its answer.",
            ("method", "handler"),
            buckets=HTTP,
            registry=registry,
        )
        self._open = Gauge("ayllu_http_requests_open", "Requests that are being answered.", registry=registry)

    def answered(self, course: Course) -> None:
        """Count an answer."""
        labels = (course.model, "0")
        ended = course.ended or course.arrived
        self._finished.labels(*labels, course.finish_reason).inc()
        self._whole.labels(*labels).observe(ended - course.arrived)
        self._queued.labels(*labels).observe((course.started or ended) - course.arrived)
        self._most.labels(*labels).observe(course.request.max_tokens)
        if course.started is None:
            return
        self._prompt_tokens.labels(*labels).inc(len(course.request.prompt))
        self._prompts.labels(*labels).observe(len(course.request.prompt))
        self._generated.labels(*labels).inc(course.tokens)
        self._answers.labels(*labels).observe(course.tokens)
        self._running.labels(*labels).observe(ended - course.started)
        if course.context is not None and course.context.key is not None:
            self._key_tokens.labels(course.context.key.name, "prompt").inc(len(course.request.prompt))
            self._key_tokens.labels(course.context.key.name, "generation").inc(course.tokens)
        if course.first is None or course.last is None:
            return
        self._first.labels(*labels).observe(course.first - course.arrived)
        self._prefill.labels(*labels).observe(course.first - course.started)
        self._decode.labels(*labels).observe(course.last - course.first)
        for gap in course.gaps:
            self._gap.labels(*labels).observe(gap)
        if course.tokens > 1:
            self._mean.labels(*labels).observe((course.last - course.first) / (course.tokens - 1))

    def opened(self) -> None:
        """Count a request that has begun."""
        self._open.inc()

    def closed(self, context: RequestContext) -> None:
        """Count a request that has ended."""
        self._open.dec()
        self._requests.labels(context.known_method, context.route, str(context.status)).inc()
        self._seconds.labels(context.known_method, context.route).observe(context.seconds)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that a scraper takes, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _Queues(Collector):
    """What is so at the moment of asking."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        running = GaugeMetricFamily("vllm:num_requests_running", "Answers that engines compute.", labels=LABELS)
        waiting = GaugeMetricFamily("vllm:num_requests_waiting", "Requests that wait for a turn.", labels=LABELS)
        for served in self._models.served:
            running.add_metric([served.about.name, "0"], served.queue.running)
            waiting.add_metric([served.about.name, "0"], served.queue.turns.waiting)
        return [running, waiting]
