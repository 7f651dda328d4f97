"""The shape that a budget chooses."""

from __future__ import annotations

from ayllu.train.flops import training_flops
from ayllu.train.ladder import LADDER, TOKENS_PER_PARAMETER, choose_shape


def test_more_time_never_buys_a_smaller_model() -> None:
    sizes = [
        choose_shape(rate=2e11, seconds=60 * minutes, vocabulary=4096, length=256).parameters
        for minutes in (0.1, 1, 10, 100, 1000, 10_000)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_the_chosen_model_sees_its_share_of_tokens() -> None:
    for minutes in (10, 100, 1000):
        config = choose_shape(rate=2e11, seconds=60 * minutes, vocabulary=4096, length=256)
        tokens = 2e11 * 60 * minutes / training_flops(config, 256)
        assert tokens >= TOKENS_PER_PARAMETER * config.matrix_parameters or config.layers == LADDER[0][0]
