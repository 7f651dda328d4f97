"""The chat page of a server that asks for keys, and one below the path of a proxy, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ayllu.serve.access.access import Access
from ayllu.serve.access.keys import KeyStore
from ayllu.serve.engines.torch_engine import TorchEngine
from support.serving.browser import Visit
from support.serving.server import Watched, serving


def test_the_page_asks_for_a_key_until_it_has_a_good_one(
    browser: Any, folder: Path, engine: TorchEngine, tmp_path: Path
) -> None:
    text, _ = KeyStore(tmp_path).add("Ana")
    with serving(folder, Watched(engine), access=Access(tmp_path, required=True)) as address:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto(address)
        page.wait_for_selector("#key[open]")
        page.fill("#key-text", "wrong")
        page.press("#key-text", "Enter")
        page.wait_for_selector("#key-why >> text=not one of this server")
        page.fill("#key-text", text)
        page.click("#key >> text=Use it")
        page.wait_for_selector("#facts >> text=parameters")
        assert not page.is_visible("#key")
        page.fill("#prompt", "Hello")
        page.press("#prompt", "Enter")
        page.wait_for_selector(".message.assistant:last-child .rate")
        page.reload()
        page.wait_for_selector("#facts >> text=parameters")
        assert not page.is_visible("#key")
        context.close()


def test_the_page_works_below_the_path_of_a_proxy(browser: Any, folder: Path, engine: TorchEngine) -> None:
    with serving(folder, Watched(engine), base_path="/house") as address:
        context = browser.new_context()
        visit = Visit(context, f"{address}/house")
        visit.short()
        visit.send("Hello")
        visit.finished()
        assert visit.complaints == []
        assert all(request.url.startswith(f"{address}/house") for request in visit.requests)
        context.close()
