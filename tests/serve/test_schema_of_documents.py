"""The schema of the routes for texts and documents against the server: what it forbids is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from ayllu.serve.engines.torch_engine import TorchEngine
from support.serving.server import serving

ONE = "/v1/vector_stores/{store_id}"
ROUTES = [
    ("/v1/embeddings", "POST"),
    ("/v1/rerank", "POST"),
    ("/tokenize", "POST"),
    ("/detokenize", "POST"),
    ("/v1/audio/speech", "POST"),
    ("/v1/files", "GET"),
    ("/v1/vector_stores", "POST"),
    ("/v1/vector_stores", "GET"),
    (ONE, "POST"),
    (f"{ONE}/files", "POST"),
    (f"{ONE}/files", "GET"),
    (f"{ONE}/file_batches", "POST"),
    (f"{ONE}/search", "POST"),
]
QUICK = settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.generate],
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def address(folder: Path, engine: TorchEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(folder, engine, home=tmp_path_factory.mktemp("home")) as url:
        yield url


@pytest.fixture(scope="module")
def schema(address: str) -> Any:
    return schemathesis.openapi.from_dict(httpx2.get(f"{address}/openapi.json", timeout=60).json())


@pytest.fixture(scope="module")
def store(address: str) -> str:
    return httpx2.post(f"{address}/v1/vector_stores", json={}, timeout=60).json()["id"]


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_what_the_schema_forbids_is_refused_and_nothing_breaks_the_server(
    schema: Any, address: str, store: str, path: str, method: str, mode: GenerationMode
) -> None:
    @QUICK
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def tries(case: Any) -> None:
        # A store that is there, so that bodies and queries are read to their ends.
        where = address + path.replace("{store_id}", store)
        body = json.dumps(case.body).encode() if _is_json(case.body) else b""
        headers = {"Content-Type": "application/json"}
        query = {name: str(value) for name, value in (case.query or {}).items()}
        reply = httpx2.request(method, where, content=body, headers=headers, params=query)
        if reply.status_code != 501:
            assert reply.status_code < 500, reply.text
        if reply.status_code != 200:
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        elif method == "POST":
            assert mode.is_positive or case.query, case.body

    tries()


def _is_json(body: Any) -> bool:
    try:
        json.dumps(body)
    except (TypeError, ValueError):
        return False
    return True
