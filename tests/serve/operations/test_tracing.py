"""Traces as a collector gets them: over HTTP in OTLP, read by OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from ayllu.lab.error import UserError
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.operations.tracing import open_tracing
from support.parts import need_module
from support.serving.server import serving

service = need_module(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    "opentelemetry-exporter-otlp-proto-http is not installed",
)
HELLO: Any = [{"role": "user", "content": "Hello there, llama"}]


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A local one: its address, and the spans that came."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in service.ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend((self.path, resource.resource, span) for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", spans
        server.shutdown()


def attributes(thing: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        kind = value.WhichOneof("value")
        return [plain(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)

    return {entry.key: plain(entry.value) for entry in thing.attributes}


def ask(address: str, **options: Any) -> Any:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    return client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=5, seed=1, **options)


@pytest.mark.parametrize("named", ["option", "environment"])
def test_a_request_and_its_answer_are_spans_below_the_callers(
    folder: Path, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with collector() as (address, spans):
        if named == "environment":
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        tracing = open_tracing(address if named == "option" else None)
        assert tracing is not None
        with serving(folder, engine, tracing=tracing) as url:
            usage = ask(url, temperature=0.5, extra_headers={"traceparent": f"00-{trace}-{parent}-01"}).usage
        tracing.close()
    assert {path for path, _, _ in spans} == {"/v1/traces"}
    assert attributes(spans[0][1])["service.name"] == "ayllu"
    by_name = {span.name: span for _, _, span in spans}
    request, answer = by_name["POST /v1/chat/completions"], by_name["chat tiny"]
    assert request.trace_id.hex() == answer.trace_id.hex() == trace
    assert request.parent_span_id.hex() == parent
    assert answer.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= answer.start_time_unix_nano
    assert answer.end_time_unix_nano <= request.end_time_unix_nano
    assert attributes(request)["http.response.status_code"] == 200
    found = attributes(answer)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.request.model"] == found["gen_ai.response.model"] == "tiny"
    assert (found["gen_ai.request.temperature"], found["gen_ai.request.max_tokens"]) == (0.5, 5)
    assert found["gen_ai.usage.input_tokens"] == usage.prompt_tokens
    assert found["gen_ai.usage.output_tokens"] == usage.completion_tokens
    assert found["gen_ai.response.finish_reasons"] == ["length"]
    # Nothing of what was said leaves the server with a trace.
    assert not any("llama" in str(value) for _, _, span in spans for value in attributes(span).values())


def test_no_collector_no_traces_and_what_is_no_url_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert open_tracing(None) is None
    with pytest.raises(UserError, match="is no URL"):
        open_tracing("collector:4318")
