"""A model too small to be clever, but real in every part: vocabulary, weights, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.tokenizer import Tokenizer
from support.models import save_tiny_model, tiny_tokenizer
from support.server import serving


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
