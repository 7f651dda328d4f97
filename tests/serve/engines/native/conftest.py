"""A C compiler, and tiny models as the native engine computes them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ayllu.lab.made import c_library
from ayllu.model.files.hf_config import load_config
from ayllu.serve.engines.native import weights
from ayllu.serve.engines.native.library import compiled, opened
from ayllu.serve.engines.native.weights import NativeModel, packed
from support.models import SHAPES, save_tiny_model
from support.parts import need
from support.serving.native import PAGES, Make


@pytest.fixture(scope="session", autouse=True)
def compiler() -> None:
    need(any(map(shutil.which, c_library.COMPILERS)), "there is no C compiler")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("native")


@pytest.fixture(scope="session", params=SHAPES)
def shaped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each shape that files tell apart."""
    return save_tiny_model(tmp_path_factory.mktemp("shaped"), SHAPES[request.param])


@pytest.fixture(scope="session")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tied"), SHAPES["tied"])


@pytest.fixture
def make(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A model of a folder: its bits, its threads, and with what flags the code is compiled."""
    made: list[NativeModel] = []

    def build(
        folder: Path,
        *,
        bits: int = 8,
        threads: int = 2,
        pages: int = PAGES,
        flags: Sequence[str] = ("-march=native",),
        **more: Any,
    ) -> NativeModel:
        built = opened(compiled(flags=tuple(flags), cache=cache))
        monkeypatch.setattr(weights, "library", lambda: built)
        config = load_config(folder)
        file = packed(folder, bits, cache=cache)
        made.append(NativeModel(config, file, bits, context=config.context, pages=pages, threads=threads, **more))
        return made[-1]

    yield build
    for model in made:
        model.close()
