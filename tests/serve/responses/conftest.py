"""A server that keeps its responses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.state.choose import open_store
from support.serving.server import serving


@pytest.fixture(scope="session")
def url(folder: Path, engine: TorchEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = open_store(None, home=tmp_path_factory.mktemp("home"))
    assert store is not None
    with serving(folder, engine, store=store) as address:
        yield address
    store.close()


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client
