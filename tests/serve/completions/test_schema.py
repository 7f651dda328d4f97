"""The schema of the API against the server: what it forbids is refused, and no body breaks the routes."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

PATHS = ("/v1/chat/completions", "/v1/completions")
SHORT = {"max_completion_tokens": 1, "n": 1, "best_of": 1}
QUICK = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.generate],
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def schema(url: str) -> Any:
    return schemathesis.openapi.from_dict(httpx2.get(f"{url}/openapi.json", timeout=60).json())


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", PATHS)
def test_what_the_schema_forbids_is_refused_and_nothing_breaks_the_server(
    schema: Any, url: str, path: str, mode: GenerationMode
) -> None:
    seen: set[int] = set()

    @QUICK
    @given(case=schema[path]["POST"].as_strategy(generation_mode=mode))
    def tries(case: Any) -> None:
        body = case.body
        if mode.is_positive:
            body = body | {"max_tokens": 1} | {name: value for name, value in SHORT.items() if name in body}
        sent = json.dumps(body).encode() if isinstance(body, dict | list | str | int | float | None) else body
        headers = {"Content-Type": "application/json"}
        reply = httpx2.post(url + path, content=sent if isinstance(sent, bytes) else b"", headers=headers)
        seen.add(reply.status_code)
        assert reply.status_code < 500, reply.text
        if reply.status_code == 200:
            assert '"server_error"' not in reply.text
            assert mode.is_positive, body
        else:
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}

    tries()
    assert seen <= {200, 400, 404, 413, 422}
    assert 400 in seen
