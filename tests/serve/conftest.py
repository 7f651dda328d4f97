"""Models too small to be clever, but real in every part: vocabulary, weights, files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.state.choose import open_store
from ayllu.text.tokenizer import Tokenizer
from support.models import TINY, save_tiny_model, tiny_tokenizer
from support.serving.browser import address, browser, engine, folder, visit, watched
from support.serving.server import serving

__all__ = ["address", "browser", "engine", "folder", "visit", "watched"]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return tiny_tokenizer()


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
