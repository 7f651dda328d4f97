"""Numbers on a page: each is what its reference says, and none stands without one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ayllu.release.reference import Pages, attach, detach, format_value, number_problems, pointer, resolve_pointer

RECORDS = {
    "records.json": {
        "a": {"loss": 1.44683, "tokens": 1_234_567, "share": 0.3127, "tiny": 0.0004, "big": 123_456.7},
        "b/c ~d": [1, "x 7"],
    },
    "scores.json": {"title": "ARC 2", "none": None},
}


def lint(text: str) -> list[str]:
    return [problem for _, problem in number_problems(text, RECORDS)]


@pytest.mark.parametrize(
    "line",
    [
        "| 1.447<!-- records.json#/a/loss --> | 1.4<!-- records.json#/a/loss --> |",
        "1,234,567<!-- records.json#/a/tokens --> and 1234567<!-- records.json#/a/tokens --> tokens",
        "31.3 %<!-- records.json#/a/share --> of 123,457<!-- records.json#/a/big -->",
        "x 7<!-- records.json#/b~1c%20~0d/1 --> and 1<!-- records.json#/b~1c%20~0d/0 -->",
        'name: "ARC 2" # scores.json#/title',
        "value: 0.3127 # records.json#/a/share",
        "CO₂, m², 0.04 %<!-- records.json#/a/tiny --> of the lines of `2024`, [page](https://x.org/2024/7)",
        "under Apache-2.0, in Llama-3's format, `x = 3`, [page](https://x.org/2024/7) <http://x.org/1>",
        "```\nprint(3)\n```",
    ],
)
def test_what_the_records_say_passes(line):
    assert lint(line) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("| 1.448<!-- records.json#/a/loss --> |", "not what records.json#/a/loss says (1.447)"),
        ("| 1<!-- records.json#/a/loss --> |", "not what records.json#/a/loss says"),
        ("| 1,234,568<!-- records.json#/a/tokens --> |", "not what"),
        ("31.3<!-- records.json#/a/share -->", "not what"),
        ("31.4 %<!-- records.json#/a/share -->", "not what"),
        ("ARC 3<!-- scores.json#/title -->", "not what"),
        ("0<!-- scores.json#/none -->", "not what"),
        ("7<!-- records.json#/a/nothing -->", "records.json#/a/nothing does not exist"),
        ("7<!-- other.json#/a -->", "other.json#/a does not exist"),
        ("7<!-- records.json#/b~1c%20~0d/9 -->", "does not exist"),
        ("| loss | 1.447 |", "the number 1.447 has no reference"),
        ("It reached 31 % in 2024.", "the number 31 % has no reference"),
        ("| 9 1.447<!-- records.json#/a/loss --> |", "the number 9 has no reference"),
        ("value: 0.3127", "the number 0.3127 has no reference"),
        ("-5 degrees", "the number -5 has no reference"),
        ("MMLU: .901", "the number .901 has no reference"),
        ("MMLU--90.1", "the number 90.1 has no reference"),
        ("90. percent of MMLU", "the number 90 has no reference"),
        ("MMLU: `90.1`, `-3 %`", "the number 90.1 has no reference"),
        ("MMLU: `90 %`", "the number 90 % has no reference"),
        ("MMLU: ⁹⁰, ½", "the number ⁹⁰, has no reference"),
        ("MMLU: &#x39;&#x30;", "“&#x39;&#x30;” is shown as something else than it is"),
        ("MMLU: &frac12;", "is shown as something else than it is"),
        ("MMLU: <b title='x'>", "is shown as something else than it is"),
        ("](90.1 of MMLU)", "the number 90.1 has no reference"),
        ("\\`90.1 of MMLU\\`", "can be read in two ways"),
        ("a `` ` `` 90.1 of MMLU `` ` ``", "can be read in two ways"),
        ("a `b\nc ` 90.1 of MMLU ` d", "can be read in two ways"),
        ("```x``` tells\nMMLU: 90.1\n```\n```", "can be read in two ways"),
        ("    ```\nMMLU: 90.1\n    ```", "the number 90.1 has no reference"),
        ("- ```\n  ```\nMMLU: 90.1", "the number 90.1 has no reference"),
        ("~~~\n```\n~~~\nMMLU: 90.1\n```", "can be read in two ways"),
        ("````\n```\n````\nMMLU: 90.1", "the number 90.1 has no reference"),
        ("```\nMMLU: 90.1", "a block of code has no end"),
        ("0.0 %<!-- records.json#/a/tiny -->", "not what records.json#/a/tiny says (0.0004)"),
        ("0.00<!-- records.json#/a/tiny -->", "not what records.json#/a/tiny says"),
    ],
)
def test_what_they_do_not_say_is_reported(line, problem):
    assert any(problem in found for found in lint(line))


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15), st.integers()))
@example(9_007_199_254_740_993)
def test_every_number_that_we_write_passes_and_its_neighbour_does_not(value):
    records = {"records.json": {"x": value}}
    shown = Pages(records).show("records.json", "x")
    assert list(number_problems(f"| {shown} |", records)) == []
    assert len(list(number_problems(f"| 1{shown.lstrip('-')} |", records))) == 1


@given(st.floats(0, 1))
def test_every_share_that_we_write_passes(value):
    records = {"records.json": {"x": value}}
    assert list(number_problems(Pages(records).show("records.json", "x", percent=True), records)) == []


@given(st.text())
@example("0\x85")
@example("2\u2028\n3 <!-- x.json#/9 --> ```")
@example("x # x.json#/y")
def test_every_text_that_we_write_passes(text):
    records = {"records.json": {"x": text}}
    pages = Pages(records)
    assert list(number_problems(f"| {pages.show('records.json', 'x')} |", records)) == []
    assert list(number_problems(f"name: {pages.yaml('records.json', 'x')}", records)) == []


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t\x0b\x0c\x1c\x1d\x1e\x85\xa0")))
)
def test_a_pointer_finds_its_value(path):
    value: object = "found"
    for step in reversed(path):
        value = {step: value}
    assert resolve_pointer({"x.json": value}, "x.json", pointer(*path)) == "found"


MARKED = """\
---
value: 0.3127 # records.json#/a/share
---
| 1.447<!-- records.json#/a/loss --> | 1,234,567<!-- records.json#/a/tokens --> tokens |
```
7<!-- records.json#/a/loss -->
```
x 7<!-- records.json#/b~1c%20~0d/1 -->"""


def test_a_page_is_plain_text_and_its_references_stand_beside_it():
    plain, references = detach(MARKED)
    assert plain.count("<!--") == 1 and "value: 0.3127\n" in plain and "| 1.447 | 1,234,567 tokens |" in plain
    assert references[1] == {"line": 4, "end": 7, "source": "records.json#/a/loss"}
    marked = attach(plain, references)
    assert lint(marked) == [] and detach(marked) == (plain, references)
    assert lint(attach(plain.replace("1.447", "1.448"), references)) != []
    assert lint(attach(plain + "\n9 llamas", references)) == ["the number 9 has no reference to the records"]


@pytest.mark.parametrize(
    "reference",
    [
        {"line": 99, "end": 0, "source": "records.json#/a"},
        {"line": 0, "end": 0, "source": "records.json#/a"},
        {"line": 1, "end": "0", "source": "records.json#/a"},
        {"line": 1, "end": 0, "source": "--> 7 <!-- records.json#/a"},
        {"line": 1, "end": 0, "source": 7},
        {"line": 1, "end": 0},
        "records.json",
        7,
    ],
)
def test_references_to_no_place_of_the_page_are_refused(reference):
    with pytest.raises((ValueError, TypeError, LookupError)):
        attach("7 llamas", [reference])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_every_page_that_we_write_can_be_taken_apart_and_put_together(texts):
    records = {"records.json": {"x": texts}}
    pages = Pages(records)
    marked = "\n".join(f"| {pages.show('records.json', 'x', i)} |" for i in range(len(texts)))
    plain, references = detach(marked)
    assert attach(plain, references) == marked and list(number_problems(marked, records)) == []


def test_four_digits_are_enough():
    values = (0.000312345, 0.9, 1.44683, 612.345, 12_345.6, 600.0, 0.0)
    assert [format_value(value) for value in values] == ["0.0003123", "0.9", "1.447", "612.3", "12,346", "600.0", "0.0"]
    shares = (0.0004, 0.00051, 0.0, 1e-20, -0.0004)
    assert [format_value(share, percent=True) for share in shares] == ["0.04 %", "0.1 %", "0.0 %", "0.0 %", "-0.04 %"]
    assert format_value(float("nan")) == format_value(None) == "–"
