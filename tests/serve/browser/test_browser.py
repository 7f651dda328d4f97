"""The model in a visitor's browser: it answers there, as the server does, and the server computes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ayllu.serve.browser.routes import WLLAMA
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.middleware.security_headers import HEADERS
from support.archives import fetched
from support.serving.browser import Visit
from support.serving.server import Watched, serving

ANSWER = ".message.assistant:last-child .text"


@pytest.fixture(scope="module")
def watched(engine: TorchEngine) -> Watched:
    return Watched(engine)


@pytest.fixture(scope="module")
def address(folder: Path, watched: Watched) -> Iterator[str]:
    fetched(WLLAMA)
    with serving(folder, watched, browser=True) as url:
        yield url


def test_a_switch_of_the_page_and_the_answer_comes_from_the_browser(
    browser: Any, address: str, watched: Watched
) -> None:
    context = browser.new_context()
    visit = Visit(context, address)
    visit.page.click("#open-settings")
    visit.page.fill("#temperature", "0")
    visit.page.click("text=Compute in this browser")
    visit.page.wait_for_url("**/browser")
    visit.page.wait_for_selector("#facts >> text=parameters")
    visit.requests.clear()
    visit.send("Hello")
    visit.page.wait_for_selector(".message.assistant:last-child .rate", timeout=60_000)
    shown = visit.texts()[-1]
    assert len(shown) > 20
    assert watched.computed == 0
    asked = {request.url.removeprefix(address) for request in visit.requests if request.url.startswith("http")}
    assert {"/browser/wllama/wllama.wasm", "/browser/model.gguf"} <= asked
    assert [path for path in asked if path.startswith("/v1")] == []
    assert visit.complaints == []
    visit.page.click("#open-settings")
    visit.page.click("text=Let the server compute")
    visit.page.wait_for_selector("#facts >> text=parameters")
    visit.send("Hello")
    visit.finished()
    assert watched.computed > 0
    context.close()


def test_only_that_page_may_compile_and_only_where_it_was_asked_for(address: str, url: str) -> None:
    page = httpx2.get(f"{address}/browser").headers
    assert "'wasm-unsafe-eval'" in page["content-security-policy"]
    assert "'unsafe-eval'" not in page["content-security-policy"]
    assert page["cross-origin-embedder-policy"] == "require-corp"
    for path in ("/", "/static/browser.js", "/browser/model.gguf"):
        headers = httpx2.get(f"{address}{path}").headers
        assert headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    assert httpx2.get(f"{address}/v1/models").json()["data"][0]["meta"]["browser"] is True
    assert httpx2.get(f"{url}/v1/models").json()["data"][0]["meta"]["browser"] is False
    for path in ("/browser", "/browser/model.gguf", "/browser/wllama/index.js"):
        assert httpx2.get(f"{url}{path}").status_code == 404
    assert httpx2.get(f"{address}/browser/wllama/other.js").status_code == 404


def test_a_releases_own_file_is_the_one_that_is_loaded(folder: Path, engine: TorchEngine, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with serving(tmp_path, engine, browser=True) as url:
        made = httpx2.get(f"{url}/browser/model.gguf")
        assert made.content.startswith(b"GGUF")
        assert made.headers["content-type"] == "application/octet-stream"
        (tmp_path / "own.gguf").write_bytes(made.content + b"own")
        assert httpx2.get(f"{url}/browser/model.gguf").content.endswith(b"own")
