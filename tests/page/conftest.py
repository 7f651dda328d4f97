"""A server that runs tools, a model that calls them by a script, and a visitor of its chat page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ayllu.assistant.hosted import ServerTools
from ayllu.assistant.mcp.hosted import AllowedServers
from ayllu.sandbox.outcome import NoSandbox
from ayllu.sandbox.session import Session
from support.models import TINY, save_tiny_model
from support.parts import need, need_module
from support.serving.browser import Visit, address, browser, engine, folder, visit, watched
from support.serving.scripted import Scripted
from support.serving.server import serving
from support.serving.shop import mcp_shop

__all__ = ["address", "browser", "engine", "folder", "visit", "watched"]

need_module("mcp", "MCP needs the package mcp")


def calls(name: str, **arguments: Any) -> str:
    """A call as the model writes it, behind words too."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


@dataclass
class Shop:
    """What the model says next, and what was sold by the MCP server."""

    address: str
    book: Path

    @property
    def sold(self) -> list[str]:
        return self.book.read_text().split() if self.book.exists() else []

    def script(self, *says: str) -> list[str]:
        """Gives the model its words, and forgets what was sold; what comes back has the prompts that it reads."""
        self.book.unlink(missing_ok=True)
        Scripted.says[:] = says
        Scripted.prompts.clear()
        return Scripted.prompts


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    place = tmp_path_factory.mktemp("shop")
    folder = save_tiny_model(place / "tiny", replace(TINY, context=8192))
    with mcp_shop(place / "sold") as url:
        hosted = partial(ServerTools, servers=AllowedServers([f"shop={url}"]))
        with serving(folder, Scripted(folder), home=place / "home", hosted=hosted) as address:
            yield Shop(address, place / "sold")


@pytest.fixture
def visitors(browser: Any, shop: Shop) -> Iterator[Callable[..., Visit]]:
    """Makes visitors of the shop's page, each with a browser of their own."""
    contexts, made = [], []

    def visitor(**options: Any) -> Visit:
        contexts.append(browser.new_context(**options))
        made.append(Visit(contexts[-1], shop.address))
        return made[-1]

    yield visitor
    for each in made:
        assert each.complaints == []
        assert [r.url for r in each.requests if not r.url.startswith((shop.address, "blob:"))] == []
    for context in contexts:
        context.close()


@pytest.fixture
def guest(visitors: Callable[..., Visit]) -> Visit:
    """A visitor of the shop's page."""
    return visitors()


@pytest.fixture(scope="session")
def sandbox() -> None:
    try:
        with Session() as session:
            session.run("1")
    except NoSandbox as error:
        need(None, str(error))
