"""The generated items: the same everywhere, right by their own checker, and harder with the level."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from collections import Counter

import pytest

from ayllu.evals.profile.answers import Answer, judge
from ayllu.evals.profile.check import is_right
from ayllu.evals.profile.figures import profile_figures, threshold_of
from ayllu.evals.profile.generators import invented_rule, long_term, speed
from ayllu.evals.profile.item import HARDEST, LEVELS, SEED
from ayllu.evals.profile.rows import FURTHER, ROWS, TEN, make_items, profile_digest
from ayllu.lab.error import UserError

ITEMS = make_items(each=2)


def test_each_item_takes_its_own_answer_and_no_other_choice() -> None:
    for item in ITEMS:
        assert is_right(item, item.answer), item
        for place, choice in enumerate(item.choices):
            assert is_right(item, choice) is (place == item.gold), (item, choice)


def test_there_are_ten_rows_each_with_several_generators_or_a_reason() -> None:
    assert len(TEN) == 10
    for row in TEN:
        assert len(row.generators) >= 3 or row.reason, row.name
    assert {row.name for row in FURTHER} == {"learning", "knowing_limits", "correction", "habit"}
    counts = Counter(item.name for item in ITEMS)
    for name, count in counts.items():
        row = ROWS[name.partition("/")[0]]
        # Two of each level, where there are two questions: not of elements to be named, nor of the first digits of π.
        fewer = {"naming": len(row.levels), "constants": 2, "capitals": 2, "backwards": 1, "swapped_words": 1}
        assert count == 2 * len(row.levels) - fewer.get(name.partition("/")[2], 0), name


def test_nothing_is_asked_twice() -> None:
    """A second answer to the same question is no second item: it would only make the interval narrower."""
    asked = Counter(item.asked for item in ITEMS if item.seconds is None and item.examples is None)
    assert set(asked.values()) == {1}
    naming = [item.level for item in ITEMS if item.generator == "naming"]
    assert naming == list(LEVELS)  # one question a level, however many items are asked for


def test_who_always_says_the_same_does_not_know_its_limits() -> None:
    """Half of these questions have no answer: to say so of all is right half the time, and knows nothing."""
    items = make_items(["knowing_limits"], each=40)
    for mode in ("gen", "rank"):
        verdicts = [
            judge(
                item,
                Answer(id="", digest="", mode=mode, reply="unknown")
                if mode == "gen"
                else Answer(id="", digest="", mode=mode, log_likelihoods=[float(c == "unknown") for c in item.choices]),
            )
            for item in items
        ]
        assert sum(verdict.solved for verdict in verdicts) / len(verdicts) == pytest.approx(0.5, abs=0.1)
        assert threshold_of(verdicts).low == 1  # below the scale, or not told from it
        scores = profile_figures(verdicts, headline=mode, about={})["scores"]
        abstains = next(score for score in scores if score["name"] == "knowing_limits/abstains_if_unsaid")
        assert abstains["value"] == 1
        assert abstains["chance"] == (0.25 if mode == "rank" else 0)


def test_choices_in_order_are_no_sign_of_the_right_one() -> None:
    for item in ITEMS:
        if item.generator == "sorting":
            assert all(choice.split() == sorted(choice.split()) for choice in item.choices), item


def test_items_are_the_same_in_another_process_and_others_under_another_seed() -> None:
    code = "from ayllu.evals.profile.rows import *; print(profile_digest(make_items(['mathematics', 'knowledge'])))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    rows = ["mathematics", "knowledge"]
    assert told == profile_digest(make_items(rows))
    assert told != profile_digest(make_items(rows, seed="another"))


def test_the_items_of_the_seed_are_those_of_earlier_releases() -> None:
    # Another digest: no profile measured before can be compared any more. Then SEED is raised.
    assert SEED == "ayllu-profile-2"
    assert profile_digest(make_items(each=1)) == "57226dd7c24d0ef2"


def test_a_smaller_profile_is_a_part_of_a_larger_one() -> None:
    larger = {item.id: item.digest for item in ITEMS}
    assert all(larger[item.id] == item.digest for item in make_items(each=1))


def test_the_right_choice_is_at_no_place_more_often() -> None:
    places = Counter(item.gold for item in ITEMS if len(item.choices) == 4)
    expected = sum(places.values()) / 4
    assert sum((places[place] - expected) ** 2 / expected for place in range(4)) < 16.3  # chi-square, p 0.001


def test_hard_items_are_longer_or_have_less_time() -> None:
    for name, row in ROWS.items():
        for generator in row.generators if not row.pictures else ():  # what those show: test_visual.py
            mine = [item for item in ITEMS if item.row == name and item.generator == generator]
            easy = [item for item in mine if item.level == row.levels[0]]
            hard = [item for item in mine if item.level == row.levels[-1]]
            shown = [sum(len(i.plain) + len(i.before) + len(i.answer) for i in part) for part in (easy, hard)]
            if name == "speed":
                assert speed.seconds_at(LEVELS[0]) == 20
                assert hard[0].seconds == pytest.approx(24e-6, rel=0.03)
            elif generator in ("characters", "constants", "series"):
                assert easy[0].question != hard[0].question
            elif name == "learning":
                continue
            else:
                assert shown[1] > shown[0], generator


def test_a_rule_is_the_same_with_few_and_with_many_examples() -> None:
    groups: dict[str, list] = {}
    for item in ITEMS:
        if item.row == "learning":
            groups.setdefault(item.group, []).append(item)
    for items in groups.values():
        assert [item.examples for item in items] == list(invented_rule.EXAMPLES) or len(items) == 12
        assert len({item.answer for item in items}) == len({item.choices for item in items}) == 1
        assert items[-1].question.count("becomes") == max(invented_rule.EXAMPLES)


def test_digits_of_constants_are_those_of_the_constants() -> None:
    # 20 decimals and the six nines of pi at place 762 (Feynman's point).
    assert long_term._decimals("π").startswith("14159265358979323846")
    assert long_term._decimals("π")[761:767] == "999999"
    assert long_term._decimals("e").startswith("71828182845904523536")
    assert long_term._decimals("the square root of 2").startswith("41421356237309504880")
    assert round(1.328**HARDEST) + 3 * HARDEST + 3 < len(long_term._decimals("e"))


def test_names_of_characters_are_unicodes() -> None:
    for item in ITEMS:
        if item.generator == "characters":
            code = int(item.question.partition("U+")[2].partition("?")[0], 16)
            assert unicodedata.name(chr(code)) == item.answer


def test_orders_and_stories_have_the_answer_that_a_solver_finds() -> None:
    for item in ITEMS:
        if item.generator == "order":
            pairs = [part.split(" is taller than ") for part in item.question.split(". ")[:-1]]
            below = dict(pairs)
            (top,) = set(below) - set(below.values())
            line = [top]
            while line[-1] in below:
                line.append(below[line[-1]])
            asked = item.question.partition("Who is ")[2]
            place = int(asked.split()[1]) - 1 if asked.startswith("number") else 0
            assert line[place] == item.answer


def test_what_there_is_not_is_one_sentence() -> None:
    with pytest.raises(UserError, match="no row of the profile is called maths"):
        make_items(["maths"])
    with pytest.raises(UserError, match="at least 1"):
        make_items(each=0)
