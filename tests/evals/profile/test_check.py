"""The checker over the forms in which models give answers, each with its labelled right value."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ayllu.evals.profile.check import is_right
from ayllu.evals.profile.item import ProfileItem
from ayllu.evals.standard.checkers.numbers import number_in

NUMBERS = [
    ("5", 5),
    ("5.", 5),
    ("The answer is 5.", 5),
    ("-7", -7),
    ("−7", -7),
    ("+7", 7),
    ("1,042", 1042),
    ("1 042", 1042),
    ("1'042", 1042),
    ("12,345,678", 12345678),
    ("3.5", Fraction(7, 2)),
    ("3,5", Fraction(7, 2)),
    ("1,042.5", Fraction(2085, 2)),
    ("5%", 5),
    ("5 %", 5),
    ("$5", 5),
    ("5 km", 5),
    ("5kg", 5),
    ("**5**", 5),
    (r"\boxed{5}", 5),
    (r"2 + 3 = \boxed{5}, as 7 is too many", 5),
    (r"\boxed{-1,042}", -1042),
    ("3/4", Fraction(3, 4)),
    ("-3/4", Fraction(-3, 4)),
    ("12 + 30 = 42", 42),
    ("12+30=42", 42),
    ("First 12, then 30. So the total is 42, not 41.", 42),
    ("forty-two", 42),
    ("minus forty-two", -42),
    ("one thousand and six", 1006),
    ("two hundred thirty", 230),
    ("The result is three.", 3),
    ("zero", 0),
    ("007", 7),
    ("Sum: 17 + 25 = 42", 42),
    ("It is 42, not 41", 42),
    ("1.042,50", Fraction(2085, 2)),
    (r"\boxed{\frac{3}{4}}", Fraction(3, 4)),
    ("3-5", None),
    ("The answer is not 5", None),
    ("nothing", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "right"), NUMBERS)
def test_a_number_is_read_in_every_form(text: str, right: Fraction | int | None) -> None:
    assert number_in(text) == right


def item(answer: str, *, check: str = "text", choices: tuple[str, ...] = ()) -> ProfileItem:
    return ProfileItem(
        id="row/generator/1/0",
        row="row",
        generator="generator",
        level=1,
        question="?",
        answer=answer,
        choices=choices,
        gold=choices.index(answer) if choices else 0,
        check=check,  # type: ignore[arg-type]
        closed=False,
        turns=(),
        before="",
        seconds=None,
        examples=None,
        group="",
        kind="",
    )


@pytest.mark.parametrize(
    "reply",
    [
        *(
            "Lima",
            "lima.",
            " Lima\nQuestion: next",
            "The answer is Lima.",
            "**Lima**",
            "It is Lima, of course.",
            '"Lima"',
        ),
        *("<think>Quito? No.</think>\nLima", r"\boxed{Lima}"),
        *("Not Quito but Lima", "Lima, not Quito", "It isn't Oslo: Lima it is", "Lima rather than Oslo."),
    ],
)
def test_a_text_is_taken_in_every_form(reply: str) -> None:
    assert is_right(item("Lima", choices=("Quito", "Lima", "Oslo")), reply)


@pytest.mark.parametrize(
    "reply",
    [
        *("Quito", "Lima or Quito", "Not Lima but Oslo", "Limassol", "", "I do not know"),
        *("The answer is not Lima.", "I don't think it is Lima", "anything but not in Lima"),
    ],
)
def test_another_text_is_not(reply: str) -> None:
    assert not is_right(item("Lima", choices=("Quito", "Lima", "Oslo")), reply)


def test_signs_are_the_same_with_and_without_spaces() -> None:
    assert is_right(item("4 3 8"), "4, 3, 8")
    assert is_right(item("4 3 8"), "4 3 8")
    assert not is_right(item("4 3 8"), "4 8 3")
    assert is_right(item("4 3 8"), "438")
    assert is_right(item("cba"), "c b a")
    assert is_right(item("cba"), "c-b-a")
    assert not is_right(item("cba"), "c ba")
    assert not is_right(item("4 3 8"), "4 38")


def test_short_signs_keep_their_case() -> None:
    choices = ("H", "He", "C")
    assert is_right(item("H", choices=choices), "The symbol of hydrogen is H.")
    assert not is_right(item("He", choices=choices), "he said so to H")


def test_names_are_counted_once_and_only_real_ones() -> None:
    three = item("gold, iron, zinc", check="distinct")
    assert is_right(three, "1. Gold\n2. Silver\n3. and iron")
    assert is_right(three, "aluminum, sulphur, tin")
    assert not is_right(three, "gold, gold, iron")
    assert not is_right(three, "gold, iron, kryptonite")
    assert not is_right(three, "gold, iron")
    backwards = item("zinc, iron, gold", check="descending")
    assert is_right(backwards, "zinc, tin, argon")
    assert not is_right(backwards, "argon, tin, zinc")
