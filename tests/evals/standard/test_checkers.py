"""Answers to MATH and to IFEval's instructions."""

from __future__ import annotations

import pytest

from ayllu.evals.standard.checkers.instructions import instruction_values
from ayllu.evals.standard.checkers.mathematics import equivalent, math_values, normalized


@pytest.mark.parametrize(
    ("written", "short"),
    [
        (r"x=5", "5"),
        (r"\frac12", r"\frac{1}{2}"),
        (r"\sqrt2", r"\sqrt{2}"),
        (r"\sqrt[3]a", r"\sqrt[3]{a}"),
        (r"10\text{ cm}", "10"),
        (r"90^\circ", "90"),
        ("1,000", "1000"),
        ("0,1", "0,1"),
        (r"\left(3, 4\right)", r"\left(3,4\right)"),
        (r"\$5.00", "5.00"),
    ],
)
def test_answers_are_normalised_as_minerva_does(written, short):
    assert normalized(written) == short


def test_the_same_number_is_the_same_answer():
    assert equivalent("0.5", r"\frac{1}{2}")
    assert equivalent("5.00", "5")
    assert not equivalent("0.5", "0.25")
    assert not equivalent("", "")
    row = {"solution": r"Therefore it is $\boxed{\frac{1}{2}}$."}
    said = "Final Answer: The final answer is $0.5$. I hope it is correct."
    assert math_values(row, said) == {"exact_match": 1.0}
    assert math_values(row, "It is 0.5.") == {"exact_match": 0.0}


def judged(kinds, given, text, prompt="Say it."):
    return instruction_values({"instruction_id_list": kinds, "kwargs": given, "prompt": prompt}, text)


@pytest.mark.parametrize(
    ("kind", "given", "follows", "breaks"),
    [
        ("punctuation:no_comma", {}, "One two", "One, two"),
        ("keywords:existence", {"keywords": ["a.b"]}, "see A.B", "see axb"),
        ("keywords:frequency", {"keyword": "no", "frequency": 2, "relation": "at least"}, "no no", "no"),
        ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "category", "a Cat"),
        ("keywords:letter_frequency", {"letter": "q", "let_frequency": 2, "let_relation": "less than"}, "q", "Qq"),
        ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "a b c", "a b"),
        ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "Mr. A ran.", "A. B."),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "hi"},
            "a\n\nHi, you",
            "a\n\nyou",
        ),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a]"),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x\nP.S. y", "x"),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a"),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "*a*", "a"),
        ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 1}, "Part 1 a", "Part"),
        ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "a: 1"),
        ("detectable_format:title", {}, "<<A>>\nb", "<< >>"),
        ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
        ("combination:two_responses", {}, "a******b", "a******a"),
        ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. Yes", "Yes"),
        ("startend:end_checker", {"end_phrase": "the end."}, 'x "The end."', "x"),
        ("startend:quotation", {}, '"x"', "x"),
        ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "AB CD", "AB"),
        ("change_case:english_lowercase", {}, "this is a quiet english sentence", "This is one"),
        ("language:response_language", {"language": "de"}, "Das ist ein ganz einfacher Satz.", "A simple sentence."),
    ],
)  # fmt: skip
def test_each_kind_of_instruction_is_told_followed_from_broken(kind, given, follows, breaks):
    assert judged([kind], [given], follows)["prompt_level_strict_acc"] == 1.0
    assert judged([kind], [given], breaks)["prompt_level_strict_acc"] == 0.0


def test_loose_judging_forgives_a_line_around_the_answer():
    found = judged(["startend:quotation", "punctuation:no_comma"], [{}, {}], 'Sure, here it is:\n"x"')
    assert found["prompt_level_strict_acc"] == 0.0
    assert found["inst_level_strict_acc"] == 0.0
    assert found["prompt_level_loose_acc"] == 1.0
