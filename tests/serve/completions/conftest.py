"""The tiny model with room for definitions of tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu.serve.engines.torch_engine import TorchEngine
from support.serving.server import serving


@pytest.fixture(scope="session")
def folder(roomy: Path) -> Path:
    return roomy


@pytest.fixture(scope="session")
def engine(folder: Path) -> TorchEngine:
    return TorchEngine(folder)


@pytest.fixture(scope="session")
def url(folder: Path, engine: TorchEngine) -> Iterator[str]:
    with serving(folder, engine) as address:
        yield address
