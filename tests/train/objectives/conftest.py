"""What the objectives' tests share."""

from __future__ import annotations

import pytest

from ayllu.train.objectives import next_token
from support.models import TINY


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of logits at a time, so that chunks meet."""
    monkeypatch.setattr(next_token, "CHUNK_LOGITS", 3 * TINY.vocabulary)
