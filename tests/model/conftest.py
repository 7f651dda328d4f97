"""Small models with a real tokenizer, as Hugging Face folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ayllu.model.files import hf
from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer
from support.models import SHAPES, TEXT, random_model


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn([TEXT], 600)


@pytest.fixture
def weights(tmp_path: Path, tokenizer: Tokenizer) -> Callable[..., tuple[Path, Transformer]]:
    """Make a weights folder of the named shape: its path and the model in it."""

    def make(shape: str = "tied", dtype: torch.dtype = torch.float32) -> tuple[Path, Transformer]:
        folder = tmp_path / shape.replace(" ", "-")
        model = random_model(replace(SHAPES[shape], vocabulary=tokenizer.size))
        hf.save(folder, model, dtype=dtype, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
        tokenizer.save(folder)
        return folder, model

    return make
