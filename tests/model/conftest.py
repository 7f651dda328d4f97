"""Small models with a real tokenizer, as Hugging Face folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer
from support.models import SHAPES, save_tiny_model, tiny_model, tiny_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return tiny_tokenizer()


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., tuple[Path, Transformer]]:
    """Make a weights folder of the named shape: its path and the model in it."""

    def make(shape: str = "tied", dtype: torch.dtype = torch.float32) -> tuple[Path, Transformer]:
        folder = tmp_path / shape.replace(" ", "-")
        return save_tiny_model(folder, SHAPES[shape], dtype=dtype), tiny_model(SHAPES[shape])

    return make
