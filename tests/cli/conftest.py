"""A tiny model for the commands that answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from ayllu.serve.engines.torch_engine import TorchEngine
from support.models import save_tiny_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def engine(folder: Path) -> TorchEngine:
    return TorchEngine(folder)
