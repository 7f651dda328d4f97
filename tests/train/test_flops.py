"""Operations, rates and energy, counted by hand."""

from __future__ import annotations

import pytest

from ayllu.model.config import ModelConfig
from ayllu.train.flops import energy_kwh, forward_flops, tokens_per_second, training_flops, utilisation


def test_flops_by_hand() -> None:
    # Per token and layer: q 16*16, k and v 16*8 each, o 16*16, three of 16*40; scores and values 2 * 2 * 10 * 16.
    config = ModelConfig(vocabulary=100, layers=2, width=16, heads=4, kv_heads=2, feed_forward=40)
    matrices = 2 * (256 + 128 + 128 + 256 + 3 * 640) + 1600
    assert forward_flops(config, 10) == 2 * matrices + 2 * 4 * 10 * 16
    assert training_flops(config, 10) == 3 * forward_flops(config, 10)


def test_rates_and_energy_by_hand() -> None:
    config = ModelConfig(vocabulary=100, layers=2, width=16, heads=4, kv_heads=2, feed_forward=40)
    assert tokens_per_second(3000, 1.5) == 2000
    assert tokens_per_second(3000, 0.0) == 0
    # As above, 6,976 matrix parameters and 1,280 operations of attention: 3 * (2 * 6,976 + 1,280) = 45,696.
    assert training_flops(config, 10) == 45_696
    assert utilisation(config, 10, 1000, 1e9) == pytest.approx(0.045696)
    # 1,000 devices of 700 W for an hour.
    assert energy_kwh(3600, 1000, 700) == pytest.approx(700)
