"""A visitor of the chat page, in a real browser, and the tiny model's server that it visits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.serve.engines.torch_engine import TorchEngine
from support.models import save_tiny_model
from support.parts import need, need_module
from support.serving.server import Watched, serving


class Visit:
    """A fresh visitor's tab, and what it did behind the scenes."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.address = address
        self.requests: list[Any] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector("#facts >> text=parameters")

    def send(self, text: str) -> None:
        self.page.fill("#prompt", text)
        self.page.press("#prompt", "Enter")

    def finished(self) -> None:
        self.page.wait_for_selector(".message.assistant:last-child .rate, .message:last-child .note")
        self.page.wait_for_selector("#stop", state="hidden")

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait here: the page's policy forbids the evaluation that Playwright's own waiting needs."""
        for _ in range(3000):
            if condition():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError("it never happened")

    def texts(self) -> list[str]:
        return self.page.locator(".said, .message .text").all_inner_texts()

    def asked(self) -> dict[str, Any]:
        return [r.post_data_json for r in self.requests if r.url.endswith("/v1/chat/completions")][-1]

    def short(self) -> None:
        """Set the longest answer to 32 tokens, through the settings as a visitor would."""
        self.page.click("#open-settings")
        self.page.select_option("#length", "32")
        self.page.press("#settings", "Escape")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that a random draw made: they say nothing sensible, but always the same for the same seed."""
    torch.set_num_threads(1)
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def engine(folder: Path) -> TorchEngine:
    return TorchEngine(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if (path := shutil.which(name))), None)
    need(chromium, "no Chromium is installed (Debian: apt-get install chromium)")
    api = need_module("playwright.sync_api", "the package playwright is not installed")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def watched(engine: TorchEngine) -> Watched:
    return Watched(engine, seconds=0.01)


@pytest.fixture(scope="module")
def address(folder: Path, watched: Watched) -> Iterator[str]:
    with serving(folder, watched) as url:
        yield url


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    visit = Visit(context, address)
    yield visit
    assert visit.complaints == []
    assert [r.url for r in visit.requests if not r.url.startswith(address)] == []
    context.close()
