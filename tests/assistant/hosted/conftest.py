"""A gateway whose model's words are a script, asked by the official client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
import torch

from ayllu.assistant.hosted import ServerTools
from ayllu.sandbox.outcome import NoSandbox
from ayllu.sandbox.session import Session
from ayllu.serve.responses.hosted.tools import HostedFactory
from ayllu.serve.state.choose import open_store
from support.models import TINY, save_tiny_model
from support.parts import need
from support.serving.scripted import Scripted
from support.serving.server import serving


@contextmanager
def gateway(place: Path, hosted: HostedFactory) -> Iterator[openai.OpenAI]:
    """A client of a gateway that runs tools."""
    torch.set_num_threads(1)
    folder = save_tiny_model(place / "tiny", replace(TINY, context=4096))
    store = open_store(None, home=place / "home")
    assert store is not None
    try:
        with serving(folder, Scripted(folder), store=store, home=place / "home", hosted=hosted) as address:
            yield openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    finally:
        store.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    with gateway(tmp_path_factory.mktemp("gateway"), ServerTools) as made:
        yield made


@pytest.fixture
def script() -> Callable[..., type[Any]]:
    """Gives the model its words; what comes back has the prompts that it read."""

    def given(*says: str) -> type[Any]:
        Scripted.says[:] = says
        Scripted.prompts.clear()
        return Scripted

    return given


@pytest.fixture
def sandbox() -> None:
    try:
        with Session() as session:
            session.run("1")
    except NoSandbox as error:
        need(None, str(error))
