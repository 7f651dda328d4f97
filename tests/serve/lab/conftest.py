"""A small lab whose page is open in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.lab import Lab, showing, small_lab
from support.parts import need_module

axe = need_module("axe_playwright_python.sync_playwright", "axe-playwright-python is not installed")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return small_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def address(lab: Lab) -> Iterator[str]:
    with showing(lab.store) as address:
        yield address


Visiting = Callable[..., Any]


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visiting]:
    """Opens a page of the lab in a fresh tab; at the end no script has failed, and only the lab was asked."""
    contexts, complaints, asked = [], [], []

    def open_page(path: str = "/", *, at: str = address, width: int = 1280, theme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{at}{path}")
        page.wait_for_selector("h1:has-text('')", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith("http://127.0.0.1:") for url in asked)
