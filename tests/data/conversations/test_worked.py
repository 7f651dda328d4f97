"""Sums worked out: every line is true, begins with what the one before it gave, and the last gives the answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.data.archive import default_cache
from ayllu.data.conversations.reasoning import Family
from ayllu.data.conversations.worked import worked_sum

LINE = re.compile(r"(-?\d+) ([+-]) (\d+) = (-?\d+)")


@given(first=st.integers(0, 999), rest=st.lists(st.tuples(st.sampled_from("+-"), st.integers(0, 999)), min_size=1))
def test_every_line_is_true_and_goes_on_from_the_one_before(first: int, rest: list[tuple[str, int]]) -> None:
    expression = " ".join([str(first), *(f"{sign} {number}" for sign, number in rest)])
    reached = first
    lines = worked_sum(expression).split("\n")
    for line, (sign, number) in zip(lines, rest, strict=True):
        read = LINE.fullmatch(line)
        assert read is not None, line
        assert (int(read[1]), read[2], int(read[3])) == (reached, sign, number)
        reached += number if sign == "+" else -number
        assert int(read[4]) == reached


@pytest.mark.parametrize("expression", ["7", "", "3 * 4", "3 + x", "3 4", "3 + 4 = 7", "(3 + 4)", "1.5 + 2"])
def test_what_is_no_sum_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="is no sum"):
        worked_sum(expression)


def test_the_checker_accepts_what_is_worked_out() -> None:
    family = Family("chain_sum", default_cache(), {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 3})
    for item in (family.item(seed) for seed in range(200)):
        last = worked_sum(item["metadata"]["expression"]).split()[-1]
        assert family.score(last, item) == 1
