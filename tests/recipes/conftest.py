"""What the tests of recipes share: the packaged model, adopted once, and llama.cpp to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ayllu.recipes.adopt import Adopted, adopt
from support.parts import need_module
from support.serving.llama_cpp import LlamaCpp


@pytest.fixture(scope="session")
def open_gguf() -> Iterator[Callable[[Path], LlamaCpp]]:
    """Opens a GGUF file in llama.cpp."""
    need_module("xllamacpp", "xllamacpp has no wheel for this platform")
    servers: list[LlamaCpp] = []

    def open_one(path: Path) -> LlamaCpp:
        servers.append(LlamaCpp(path))
        return servers[-1]

    yield open_one
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    """SmolLM2-135M-Instruct, adopted into a home of its own."""
    return adopt("smollm2", home=tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for recipes that learn from one source, which the first of them cleans for all."""
    return tmp_path_factory.mktemp("shared")
