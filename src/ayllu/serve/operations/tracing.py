"""OpenTelemetry traces: a span for each request, and in it one for each answer, by the GenAI conventions.

Conventions: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans (in development; as of 1.41).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.serve.access.request import RequestContext
from ayllu.serve.operations.course import Course

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Environment variables of OpenTelemetry that name a collector."""
OPERATIONS = {"/v1/completions": "text_completion", "/v1/embeddings": "embeddings"}
"""What is done, by route; all else is chat."""


class Tracing:
    """Turns requests and answers that have ended into spans."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("ayllu")
        self._propagator = TraceContextTextMapPropagator()
        # Clocks for durations and for spans differ: what is between them is taken once.
        self._epoch = time.time() - time.monotonic()

    def opened(self, context: RequestContext, headers: Mapping[str, str]) -> None:
        """Begin the span of a request, below the caller's where it names one in `traceparent`."""
        from opentelemetry.trace import SpanKind

        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        context.span = self._tracer.start_span(
            context.known_method,
            self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            start_time=self._at(context.arrived),
        )

    def closed(self, context: RequestContext) -> None:
        """End the span of a request."""
        from opentelemetry.trace import StatusCode

        span = context.span
        if span is None:
            return
        span.update_name(f"{context.known_method} {context.route}")
        span.set_attributes(
            {
                "http.request.method": context.known_method,
                "http.route": context.route,
                "url.path": context.path,
                "http.response.status_code": context.status,
                "ayllu.request_id": context.id,
            }
        )
        if context.key is not None:
            span.set_attribute("ayllu.key", context.key.name)
        if context.status >= 500:
            span.set_attribute("error.type", str(context.status))
            span.set_status(StatusCode.ERROR)
        span.end(self._at(context.arrived + context.seconds))

    def answered(self, course: Course) -> None:
        """Add the span of an answer."""
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        context, sampling = course.context, course.request.sampling
        operation = OPERATIONS.get(context.route or context.path if context else "", "chat")
        parent = None if context is None or context.span is None else set_span_in_context(context.span)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "ayllu",
            "gen_ai.request.model": course.model,
            "gen_ai.response.model": course.model,
            "gen_ai.request.max_tokens": course.request.max_tokens,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.top_k": sampling.top_k,
            "gen_ai.request.seed": sampling.seed,
            "gen_ai.request.stop_sequences": list(course.request.stop) or None,
            "gen_ai.usage.input_tokens": len(course.request.prompt),
            "gen_ai.usage.output_tokens": course.tokens,
            "gen_ai.response.finish_reasons": [course.finish_reason],
        }
        if course.first is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = course.first - course.arrived
        if course.started is not None:
            attributes["ayllu.queue_seconds"] = course.started - course.arrived
        span = self._tracer.start_span(
            f"{operation} {course.model}",
            parent,
            kind=SpanKind.INTERNAL,  # the model runs here
            attributes={name: value for name, value in attributes.items() if value is not None},
            start_time=self._at(course.arrived),
        )
        if course.finish_reason == "error":
            span.set_attribute("error.type", "engine")
            span.set_status(StatusCode.ERROR)
        span.end(self._at(course.ended or course.arrived))

    def close(self) -> None:
        """Send what has not been sent yet."""
        self._provider.shutdown()

    def _at(self, moment: float) -> int:
        return int((self._epoch + moment) * 1e9)


def open_tracing(endpoint: str | None) -> Tracing | None:
    """Traces to a collector that speaks OTLP over HTTP: at `endpoint`, or where OpenTelemetry's variables say.

    None where neither names one. Raises UserError where the packages for it are not installed.
    """
    named = endpoint or next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    if named is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UserError(
            f"traces to {named} need OpenTelemetry; run pip install 'ayllu[tracing]', or name no collector"
        ) from error
    # Resource.create reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which come before our name.
    service = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "ayllu"}
    provider = TracerProvider(resource=Resource.create(service))
    # Without an endpoint of ours the exporter reads the variables, and adds /v1/traces as they mean it.
    exporter = OTLPSpanExporter(endpoint=_traces_url(endpoint)) if endpoint else OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)


def _traces_url(endpoint: str) -> str:
    if not endpoint.startswith(("http://", "https://")):
        raise UserError(f"--traces {endpoint[:100]!r} is no URL; give a collector's, such as http://127.0.0.1:4318")
    base = endpoint.rstrip("/")
    return base if base.endswith("/v1/traces") else f"{base}/v1/traces"
