"""The number in an answer, over the formats that answers have, with labelled right values."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ayllu.evals.standard.checkers.numbers import gsm8k_values, number_in, same_number

LABELLED = [
    ("The answer is 5%.", "5"),
    ("5€", "5"),
    (r"\boxed{5}", "5"),
    ("½", "1/2"),
    ("It costs 1,042 dollars.", "1042"),
    ("-42", "-42"),
    ("\u221242", "-42"),
    ("40 + 2 = 42", "42"),
    ("x = -3", "-3"),
    ("1.042,50 €", "1042.5"),
    ("1 042", "1042"),
    ("1'042.5", "1042.5"),
    ("0,5", "0.5"),
    ("3,14", "3.14"),
    ("$1,234.56", "1234.56"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    (r"\boxed{\frac{3}{4}}", "3/4"),
    (r"$\dfrac{-3}{4}$", "-3/4"),
    (r"\boxed{-\frac{1}{2}}", "-1/2"),
    (r"So the final answer is: $\boxed{1{,}000}$ dollars", "1000"),
    ("2 1/2 cups", "5/2"),
    ("2½", "5/2"),
    ("1/3", "1/3"),
    ("forty-two", "42"),
    ("one hundred and five", "105"),
    ("two thousand three hundred", "2300"),
    ("minus seven", "-7"),
    ("three quarters", "3/4"),
    ("#### 1,000", "1000"),
    ("The answer is 18. She has 3 left.", "18"),
    ("There are 7 days, so 7*3=21 apples.", "21"),
    ("**72**", "72"),
    ("1.000.000", "1000000"),
    ("12 km/h", "12"),
    (r"10\%", "10"),
    (".5", "1/2"),
    ("6e3", "6000"),
    ("The answer is 17 + 25 = 42.", "42"),
    ("Answer: 3 apples + 4 apples = 7 apples", "7"),
    ("Sum: 17 + 25 = 42", "42"),
    ("The difference is 3 - 5 = -2", "-2"),
    ("It is 42, not 41.", "42"),
    ("It is not 41 but 42.", "42"),
    ("42 (rather than 41)", "42"),
    ("42. 41 is wrong.", "42"),
    ("I don't think it is 41: the answer is 42", "42"),
    ("Not only 5", "5"),
    ("The price went up from 3 to 5", "5"),
    ("In 2024, 42 people came", "42"),
    ("Total - 42", "42"),
    ("route-66", "66"),
    ("Results:\n- 5 apples\n- 6 apples", "6"),
    ("The answer is - 3.", "-3"),
    ("5\n100", "100"),
    ("1,00,000 rupees", "100000"),
    ("5 million", "5000000"),
    ("$1.5 billion", "1500000000"),
    ("two and a half", "5/2"),
    ("five and three quarters", "23/4"),
    ("one third", "1/3"),
    ("five point two five", "21/4"),
    ("one thousand, two hundred and six", "1206"),
    ("twenty-five hundred", "2500"),
    ("a hundred and one", "101"),
    ("one, two, three, so it is three", "3"),
    ("two and three make five", "5"),
    ("⅞", "7/8"),
    ("2⅖", "12/5"),
    ("1\u20442", "1/2"),
    ("\uff14\uff12", "42"),
    ("The result is 5, since 2 and 3 make it", "5"),
    ("The total is 3 + 4 = 7. She sells 2. Then 7 - 2 = 5.", "5"),
]
OPEN = [
    *("3-5", "3 - 5", "3\u20135", "between 3 and 5", "3 or 5", "3 to 5", "3, 5", "3 and 5", "3 5", "3 ~ 5"),
    *("three or four", "The answer is 3 or 4.", "Answer: 3, 4", "The answer is between 3 and 5.", "It is 3 or 5"),
    *("10 - 5", "The answer is 2 × 21.", "so it is 2 * 21", r"\boxed{3, 5}", r"\boxed{10 - 5}", "10^3", "1,2,3"),
    *(
        "not 5",
        "The answer is not 5.",
        "It isn't 5",
        "It is neither 5",
        "5 is not the answer",
        "5 is wrong",
        "2024 100",
    ),
]
"""Answers that state no number, or leave open which."""


@pytest.mark.parametrize(("answer", "right"), LABELLED)
def test_every_format_gives_its_value(answer, right):
    assert number_in(answer) == Fraction(right)
    assert not same_number(answer, str(float(Fraction(right)) + 1))


@pytest.mark.parametrize("answer", OPEN)
def test_what_is_denied_or_left_open_is_not_stated(answer):
    assert number_in(answer) is None


def test_no_number_is_none_and_a_monstrous_one_is_none():
    assert number_in("I do not know.") is None
    assert number_in("1e99999") is None
    assert number_in("") is None


def test_answers_to_gsm8k_are_judged_as_lm_eval_judges_them_and_by_their_number():
    """lm-eval strips commas and dollars, and reads the last number but knows no words or boxes."""
    target = "16 - 3 - 4 = 9\n9 * 2 = 18\n#### 1,018"
    assert gsm8k_values(target, "so\n#### 1,018") == {
        "exact_match,strict-match": 1.0,
        "exact_match,flexible-extract": 1.0,
        "number": 1.0,
    }
    assert gsm8k_values(target, "It is 1018 dollars.")["exact_match,strict-match"] == 0.0
    assert gsm8k_values(target, "It is $1,018.")["exact_match,flexible-extract"] == 1.0
    spelled = gsm8k_values(target, "One thousand and eighteen.")
    assert (spelled["exact_match,flexible-extract"], spelled["number"]) == (0.0, 1.0)
    assert gsm8k_values(target, "-1018")["number"] == 0.0


@pytest.mark.parametrize("piece", ["100 ", "1'", "1.", " ", "- ", "1 2/", "one hundred ", "not ", r"\frac{", "1 or "])
def test_a_long_answer_is_read_and_keeps_nobody_busy(piece):
    """A reader that looks at all that stands before every number does not come to an end."""
    assert number_in(piece * 40_000 + "\nThe answer is 42.") == 42
