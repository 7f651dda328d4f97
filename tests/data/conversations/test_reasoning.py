"""reasoning-gym's own generators and scorers, out of the pinned archive."""

from __future__ import annotations

import sys

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.conversations.reasoning import FAMILIES, Family, distinct_items
from ayllu.lab.error import UserError

SUMS = {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_scorer_accepts_the_answer_and_nothing_else(name: str) -> None:
    family = Family(name, default_cache())
    for seed in (0, 1, 12345):
        item = family.item(seed)
        assert family.score(item["answer"], item) == 1.0
        assert family.score("no such thing", item) < 0.5
        assert family.score(None, item) < 0.5
        assert item == family.item(seed)


def test_the_package_itself_is_not_left_behind() -> None:
    Family("chain_sum", default_cache(), SUMS)
    assert not [name for name in sys.modules if name.startswith("reasoning_gym")]


def test_sides_are_disjoint_and_each_question_comes_once() -> None:
    family = Family("chain_sum", default_cache(), SUMS)
    held = [item["question"] for item in distinct_items(family, 100, held_out=True)]
    assert len(set(held)) == 100
    train = [family.item(index)["question"] for index in range(100)]
    assert held != train


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match="no task family"):
        Family("chess", default_cache())
    with pytest.raises(UserError, match="correct its settings"):
        Family("chain_sum", default_cache(), {"min_terms": 5, "max_terms": 2})
    with pytest.raises(UserError, match="correct its settings"):
        Family("chain_sum", default_cache(), {"colour": "red"})
    tiny = Family("chain_sum", default_cache(), {"min_terms": 1, "max_terms": 1, "max_digits": 1})
    with pytest.raises(UserError, match="different questions"):
        distinct_items(tiny, 50, held_out=True)
