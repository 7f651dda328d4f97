"""Routes that are imported when they are asked for: found as if they had been there, and no start waits for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import openai
import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from ayllu.serve.embeddings.encoder import SentenceEncoder
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.gateway import create_app
from ayllu.serve.routing.app import App
from ayllu.serve.routing.late import LateRoutes
from ayllu.serve.served import Models
from support.serving.encoders import save_encoder, tiny_bert
from support.serving.server import serving


async def _told() -> PlainTextResponse:
    return PlainTextResponse("told")


def _app(added: list[str]) -> App:
    app = App()

    def add(app: App) -> None:
        added.append("once")
        app.add_endpoint("/late", _told)
        app.add_endpoint("/late/{name}", _told, methods=["POST"])

    app.add_late(("/late",), add)
    return app


def test_the_first_request_adds_them_and_is_answered_by_them() -> None:
    added: list[str] = []
    client = TestClient(_app(added))
    assert client.get("/later").status_code == 404
    assert added == []
    assert client.post("/late/x").text == "told"
    assert client.get("/late").text == "told"
    assert client.get("/late/x").headers["allow"] == "POST"
    assert client.get("/late/x/y").json()["error"]["message"] == "there is nothing at GET /late/x/y"
    assert added == ["once"]


def test_the_document_tells_of_them() -> None:
    added: list[str] = []
    app = _app(added)
    assert {"/late", "/late/{name}"} <= app.document()["paths"].keys()
    assert TestClient(app).get("/late").text == "told"
    assert added == ["once"]


def test_what_cannot_be_imported_is_a_failure_each_time_and_not_a_missing_page() -> None:
    app = App()

    def add(app: App) -> None:
        raise ImportError("a package is not installed")

    app.add_late(("/late",), add)
    client = TestClient(app, raise_server_exceptions=False)
    assert [client.get("/late").status_code for _ in range(2)] == [500, 500]


def test_one_that_stands_elsewhere_is_a_mistake_of_ours() -> None:
    app = App()
    app.add_late(("/late",), lambda app: app.add_endpoint("/elsewhere", _told))
    with pytest.raises(AssertionError):
        app.complete()


def test_all_of_the_gateway_stand_where_they_are_looked_for() -> None:
    app = create_app(Models())
    assert [route for route in app.routes if isinstance(route, LateRoutes)]
    app.complete()
    assert not [route for route in app.routes if isinstance(route, LateRoutes)]


def test_a_server_that_answers_has_not_imported_them() -> None:
    words = "import sys, ayllu.serve.gateway; print(*[n for n in sys.modules if n.endswith('.routes')])"
    made = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    told = made.stdout.split()
    assert "ayllu.serve.completions.routes" in told
    assert not {f"ayllu.serve.{room}.routes" for room in ("messages", "files", "vector_stores", "audio")} & set(told)


def test_a_file_that_is_deleted_first_is_gone_from_its_stores(
    folder: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    encoder = SentenceEncoder(save_encoder(tmp_path, tiny_bert()), name="tiny-bert", licence="X")

    def client(address: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)

    with serving(folder, engine, home=tmp_path / "home", encoders=[encoder]) as address, client(address) as first:
        file = first.files.create(file=("a.txt", b"a meadow"), purpose="assistants").id
        store = first.vector_stores.create(file_ids=[file]).id
    with serving(folder, engine, home=tmp_path / "home", encoders=[encoder]) as address, client(address) as second:
        second.files.delete(file)
        assert second.vector_stores.files.list(store).data == []
