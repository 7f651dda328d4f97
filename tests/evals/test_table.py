"""What people read."""

from __future__ import annotations

from ayllu.evals.item import Item
from ayllu.evals.suite import Suite
from ayllu.evals.table import describe_power, markdown_table, scores_table
from support.scores import scores


def test_the_terminal_table_says_what_must_be_known():
    text = scores_table(scores().as_json())
    assert "HellaSwag validation" in text
    assert "75.0 % (30.1–95.4)" in text
    assert "50.0 % (15.0–85.0) *" in text
    assert "1.500 (1.500 to 1.500)" in text
    assert (
        "HellaSwag: not shown to be better than knowing nothing; its training part is in web; 33.3 % of 3 checked items"
        in text
    )
    assert max(map(len, text.splitlines()[:3])) <= 120


def test_the_markdown_table_has_one_cell_for_each_head():
    table = [line for line in markdown_table(scores().as_json()).splitlines() if line.startswith("|")]
    assert len({line.count("|") - line.count(r"\|") for line in table[:3]}) == 1
    assert r"\*" in table[2]


def test_nothing_measured_is_said():
    assert scores_table({"sets": {}, "bits_per_byte": {}}) == "Nothing was measured.\n"


def test_the_smallest_accuracy_that_can_show_is_told_beforehand():
    def item(number: int) -> Item:
        return Item(id=f"piqa/{number}", set="piqa", context="", choices=("a", "b"), gold=0, plain="")

    many = describe_power(Suite(name="mine", items=tuple(map(item, range(1000)))))
    assert many == "PIQA: 1,000 items show an accuracy from 54.4 % on (chance 50.0 %; four times in five)"
    assert "cannot show" in describe_power(Suite(name="mine", items=tuple(map(item, range(2)))))
