"""Layouts count what they need."""

from __future__ import annotations

import pytest

from ayllu.train.distributed.layout import Layout


def test_a_layout_counts_its_devices() -> None:
    assert Layout(tp=8, pp=16, dp_shard=128).devices == 16_384
    with pytest.raises(ValueError, match="tp is 0"):
        Layout(tp=0)
