"""A store, a session, and an agent whose model is a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ayllu.assistant.approvals.book import ApprovalBook
from ayllu.assistant.approvals.gate import Gate
from ayllu.assistant.loop import Agent
from ayllu.assistant.models.driver import Turned
from ayllu.assistant.models.scripted import ScriptedDriver, in_order
from ayllu.assistant.session import Session
from ayllu.assistant.steps import Step
from ayllu.assistant.tools.tool import RunnableTool
from ayllu.serve.state.choose import open_store
from ayllu.serve.state.store import Store

NOW = datetime(2026, 11, 28, 14, 0)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    opened = open_store(None, home=home)
    assert opened is not None
    yield opened
    opened.close()


@pytest.fixture
def session(store: Store) -> Session:
    return Session.new(store)


def run(agent: Agent, session: Session) -> list[Step]:
    """All steps but the turns and their words."""

    async def collected() -> list[Step]:
        async with aclosing(agent.run(session)) as steps:
            return [step async for step in steps if step.kind not in ("wrote", "turn")]

    return asyncio.run(collected())


@pytest.fixture
def agent() -> Callable[..., Agent]:
    """An agent whose model takes the given turns."""

    def made(tools: Sequence[RunnableTool], *turns: Turned, asker: Any = None, **options: Any) -> Agent:
        gate = Gate(book=ApprovalBook(None), asker=asker)
        return Agent(driver=ScriptedDriver(in_order(turns)), tools=tools, gate=gate, now=lambda: NOW, **options)

    return made
