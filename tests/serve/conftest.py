"""A model too small to be clever, but real in every part: vocabulary, weights, files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.state.choose import open_store
from ayllu.text.tokenizer import Tokenizer
from support.models import TINY, save_tiny_model, tiny_tokenizer
from support.parts import need, need_module
from support.serving.browser import Visit
from support.serving.server import Watched, serving


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that a random draw made: they say nothing sensible, but always the same for the same seed."""
    torch.set_num_threads(1)
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def engine(folder: Path) -> TorchEngine:
    return TorchEngine(folder)


@pytest.fixture(scope="session")
def url(folder: Path, engine: TorchEngine) -> Iterator[str]:
    with serving(folder, engine) as address:
        yield address


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with room for definitions of tools."""
    torch.set_num_threads(1)
    return save_tiny_model(tmp_path_factory.mktemp("roomy") / "tiny", replace(TINY, context=2048))


@pytest.fixture(scope="session")
def roomy_url(roomy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of it that keeps its responses."""
    store = open_store(None, home=tmp_path_factory.mktemp("home"))
    assert store is not None
    with serving(roomy, TorchEngine(roomy), store=store) as address:
        yield address
    store.close()


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
