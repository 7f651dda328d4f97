"""What `--set` may say."""

from __future__ import annotations

import pytest

from ayllu.lab.error import UserError
from ayllu.recipes.cria import cria
from ayllu.recipes.smol import smol
from ayllu.recipes.sweeping.axes import read_axes


def test_values_and_ranges_are_read_by_the_type_of_the_option() -> None:
    lr, width, depth, name = read_axes(cria, ["lr=1e-3..1e-1", "width=64..256:64", "depth=2,4", "name=a,b"], {})
    assert (lr.low, lr.high, lr.log, lr.whole) == (1e-3, 1e-1, True, False)
    assert (width.low, width.high, width.step, width.whole) == (64, 256, 64, True)
    assert depth.values == (2, 4)
    assert name.values == ("a", "b")


def test_a_range_of_fractions_may_end_on_a_step() -> None:
    (lr,) = read_axes(cria, ["lr=0.1..0.7:0.1"], {})
    assert (lr.low, lr.high, lr.step) == (0.1, 0.7, 0.1)


def test_an_option_that_is_a_pair_of_numbers_is_no_axis() -> None:
    with pytest.raises(UserError, match="cannot be varied"):
        read_axes(smol, ["lr=0.1,0.2"], {})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lr"], "says no values"),
        (["lr="], "says no values"),
        (["speling=1,2"], "has no option"),
        (["width=1.5,2"], "whole number"),
        (["lr=a,b"], "give a number"),
        (["lr=nan"], "give a number"),
        (["lr=2..1"], "is empty"),
        (["lr=1e-3,0.001"], "twice"),
        (["lr=1,2", "lr=3"], "given twice"),
        (["budget=1,2"], "given twice"),
        (["seed=1,2"], "--seeds"),
        (["private=1,0"], "cannot be varied"),
        (["name=a..b"], "is no number"),
        (["width=64..1e300:64"], "whole number"),
        (["lr=0.1..0.2:1e-300"], "more than 1,000,000 steps"),
        (["lr=0.1..0.2:1e-9"], "more than 1,000,000 steps"),
        (["width=64..250:64"], "does not end on a step"),
        (["width=64..256:500"], "does not end on a step"),
        ([], "nothing is varied"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        read_axes(cria, words, {"budget": 1.0})
    assert "\n" not in str(refused.value)
