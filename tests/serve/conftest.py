"""A model too small to be clever, but real in every part: vocabulary, weights, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.tokenizer import Tokenizer
from support.served import save_tiny_model
from support.server import serving


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def engine(folder: Path) -> TorchEngine:
    return TorchEngine(folder)


@pytest.fixture(scope="session")
def url(folder: Path, engine: TorchEngine) -> Iterator[str]:
    with serving(folder, engine) as address:
        yield address
