"""reasoning-gym's own generators and scorers, out of the pinned archive."""

from __future__ import annotations

import sys

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.conversations.reasoning import FAMILIES, Family, distinct_items, is_held_out
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


@pytest.mark.parametrize("name", FAMILIES)
def test_no_draw_of_one_side_ever_meets_the_other(name: str) -> None:
    """Whatever seeds draw them. When they came from seeds far apart, 98 of 300 met 528 training draws."""
    settings = {
        "chain_sum": SUMS,
        "products": {"max_digits": 1},
        "leg_counting": {"max_animals": 3, "max_instances": 2},
    }
    family = Family(name, default_cache(), settings.get(name))
    train = {family.item(seed)["question"] for seed in [*range(600), *range(10_000_000, 10_000_600)]}
    held = {family.item(seed, held_out=True)["question"] for seed in [*range(100), *range(10_000_000, 10_000_100)]}
    assert len(train) > 50 and len(held) > 5
    assert not train & held


def test_a_sum_with_its_terms_in_another_order_is_on_the_same_side() -> None:
    asked = "State the final answer to the following arithmetic problem: {} + {} - {} ="
    numbers = range(10)
    orders = [(asked.format(a, b, c), asked.format(b, a, c)) for a in numbers for b in numbers for c in numbers]
    assert all(is_held_out(one) == is_held_out(other) for one, other in orders)
    assert 0.05 < sum(is_held_out(one) for one, _ in orders) / len(orders) < 0.25


def test_each_question_comes_once() -> None:
    family = Family("chain_sum", default_cache(), SUMS)
    held = [item["question"] for item in distinct_items(family, 300, held_out=True)]
    assert len(set(held)) == 300
    assert all(map(is_held_out, held))


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
