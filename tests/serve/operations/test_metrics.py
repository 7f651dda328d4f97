"""What those who run the server see: metrics by a real parser, request ids, log lines, readiness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ayllu.serve.access.access import Access
from ayllu.serve.access.keys import KeyStore
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.operations.request_log import RequestLog
from support.serving.server import Watched, serving

HELLO: Any = [{"role": "user", "content": "Hello there, llama"}]


def scrape(address: str, **headers: str) -> dict[tuple[str, str], float]:
    reply = httpx2.get(f"{address}/metrics", headers=headers)
    assert reply.status_code == 200
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            label = next(
                (sample.labels[name] for name in ("finished_reason", "status", "le") if name in sample.labels), ""
            )
            found[sample.name, label] = found.get((sample.name, label), 0.0) + sample.value
    return found


def ask(address: str, key: str = "none", **options: Any) -> Any:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)
    return client.chat.completions.create(model="tiny", messages=HELLO, **{"max_tokens": 5, "seed": 1, **options})


def test_metrics_count_what_was_answered_under_the_names_of_vllm(folder: Path, engine: TorchEngine) -> None:
    with serving(folder, engine) as address:
        usage = [ask(address).usage for _ in range(3)]
        list(ask(address, stream=True))
        found = scrape(address)
    prompts = sum(u.prompt_tokens for u in usage) + usage[0].prompt_tokens
    generated = sum(u.completion_tokens for u in usage) + usage[0].completion_tokens
    assert found["vllm:prompt_tokens_total", ""] == prompts
    assert found["vllm:generation_tokens_total", ""] == generated
    assert found["vllm:request_success_total", "length"] == 4
    for name in (
        "time_to_first_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_inference_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_time_per_output_token_seconds",
        "request_prompt_tokens",
        "request_generation_tokens",
        "request_params_max_tokens",
    ):
        assert found[f"vllm:{name}_count", ""] == 4, name
        assert found[f"vllm:{name}_bucket", "+Inf"] == 4, name
    assert found["vllm:inter_token_latency_seconds_count", ""] == generated - 4
    assert found["vllm:request_generation_tokens_sum", ""] == generated
    assert found["vllm:num_requests_running", ""] == found["vllm:num_requests_waiting", ""] == 0
    assert found["http_requests_total", "200"] == 4


def test_who_waits_who_left_and_who_was_refused_are_counted(folder: Path, engine: TorchEngine) -> None:
    watched = Watched(engine, hold_after=2, parallel=1)
    with serving(folder, watched) as address:
        with ask(address, stream=True, max_tokens=100) as stream:
            next(iter(stream))
            found = scrape(address)
            assert found["vllm:num_requests_running", ""] == 1
        with pytest.raises(openai.BadRequestError):
            ask(address, temperature=9)
        watched.hold_after = None
        ask(address)
        found = scrape(address)
    assert found["vllm:request_success_total", "abort"] == 1
    assert found["vllm:request_success_total", "length"] == 1
    assert found["http_requests_total", "400"] == 1
    # Paths that clients make up are no labels.
    with serving(folder, engine) as address:
        for number in range(3):
            httpx2.get(f"{address}/made/up/{number}")
        text = httpx2.get(f"{address}/metrics").text
    assert "made" not in text
    assert 'handler="other"' in text


def test_methods_that_clients_make_up_are_one_label(folder: Path, engine: TorchEngine) -> None:
    with serving(folder, engine) as address:
        seen = [httpx2.request(f"MADE{number}", f"{address}/made/{number}").status_code for number in range(20)]
        found = httpx2.get(f"{address}/metrics").text
    assert set(seen) <= {404, 405}
    methods = {
        sample.labels["method"]
        for family in text_string_to_metric_families(found)
        for sample in family.samples
        if "method" in sample.labels
    }
    assert "_OTHER" in methods
    assert not any(method.startswith("MADE") for method in methods)


def test_metrics_need_a_key_for_them_where_keys_are_asked_for(
    folder: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path)
    ordinary, _ = store.add("Ana")
    scraper, _ = store.add("prometheus", scopes=["metrics"])
    with serving(folder, engine, access=Access(tmp_path, required=True)) as address:
        used = ask(address, ordinary).usage
        assert httpx2.get(f"{address}/metrics").status_code == 401
        assert httpx2.get(f"{address}/metrics", headers={"Authorization": f"Bearer {ordinary}"}).status_code == 403
        openmetrics = "application/openmetrics-text; version=1.0.0"
        headers = {"Authorization": f"Bearer {scraper}", "Accept": openmetrics}
        reply = httpx2.get(f"{address}/metrics", headers=headers)
        assert reply.headers["content-type"].startswith("application/openmetrics-text")
        assert reply.text.endswith("# EOF\n")
        line = f'ayllu_key_tokens_total{{key="Ana",kind="generation"}} {float(used.completion_tokens)}'
        assert line in reply.text


def test_a_request_id_is_taken_if_it_is_sane_and_given_back_in_any_case(folder: Path, engine: TorchEngine) -> None:
    with serving(folder, engine) as address:

        def given(name: str | None, path: str = "/v1/models", **options: Any) -> str:
            headers = {} if name is None else {"x-request-id": name}
            return httpx2.get(f"{address}{path}", headers=headers, **options).headers["x-request-id"]

        assert given("job-7.a:B") == "job-7.a:B"
        assert given("job-7", path="/v1/nothing") == "job-7"
        assert len({given(None), given(None), given("with spaces and <b>"), given("x" * 200)}) == 4
        with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
            with pytest.raises(openai.NotFoundError) as refused:
                client.chat.completions.create(model="none", messages=HELLO, extra_headers={"x-request-id": "mine"})
            assert refused.value.request_id == "mine"


def test_the_log_has_a_line_for_each_request_and_nothing_of_what_was_said(
    folder: Path, engine: TorchEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(folder, engine, log=RequestLog("json")) as address:
        usage = ask(address, extra_headers={"x-request-id": "first"}).usage
        httpx2.get(f"{address}/v1/nothing%0A?secret=1")
    error = capfd.readouterr().err
    lines = [json.loads(line) for line in error.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines] == [200, 404]
    first = lines[0]
    assert first["request_id"] == "first"
    assert (first["path"], first["model"], first["finish_reason"]) == ("/v1/chat/completions", "tiny", "length")
    assert (first["prompt_tokens"], first["generated_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
    assert "llama" not in error
    assert "secret" not in error


def test_what_was_said_is_logged_on_request_and_lines_stay_lines(
    folder: Path, engine: TorchEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(folder, engine, log=RequestLog("json", prompts=True)) as address:
        answer = ask(address).choices[0].message.content
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert "Hello there, llama" in line["prompt"]
    assert line["answer"] == answer
    with serving(folder, engine, log=RequestLog("text", prompts=True)) as address:
        ask(address)
    (plain,) = [line for line in capfd.readouterr().err.splitlines() if " request " in line]
    assert "status=200" in plain
    assert "finish_reason=length" in plain


def test_a_failure_has_the_id_in_its_answer_and_in_the_log(
    folder: Path, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ayllu.serve.operations.health import Health

    async def broken(self: Health) -> dict[str, str]:
        raise RuntimeError("broken")

    monkeypatch.setattr(Health, "ready", broken)
    with serving(folder, engine) as address, httpx2.Client(base_url=address) as client:
        reply = client.get("/ready", headers={"x-request-id": "mine"})
        assert reply.status_code == 500
        assert "mine" in reply.json()["error"]["message"]
        assert reply.headers["x-request-id"] == "mine"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert client.get("/health").status_code == 200
    assert "request mine failed" in capfd.readouterr().err


def test_a_server_that_takes_requests_says_so(url: str) -> None:
    assert httpx2.get(f"{url}/ready").json() == {"status": "ready"}
