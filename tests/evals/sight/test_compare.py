"""Who sees better: each kind of question by itself, paired over scenes."""

from __future__ import annotations

from ayllu.data.scenes.questions import Question
from ayllu.evals.sight.compare import Replied, best, compare_replies, likeliest_answers


def asked(kind: str, answer: str, *wrong: str) -> Question:
    return Question(kind=kind, text="?", answer=answer, wrong=wrong)


def test_replies_are_judged_by_what_they_say_and_compared_over_the_same_questions() -> None:
    replied = [
        Replied(
            scene=number,
            question=question,
            replies={"model": model, "statements": statement},
        )
        for number in range(20)
        for question, model, statement in (
            (asked("count", "3", "2", "4"), "three" if number % 4 else "2 or 3", "I cannot see that."),
            (asked("word", "apple", "grape", "paper"), "grape", "It says: apple."),
        )
    ]
    table = compare_replies(replied, first="model")
    assert list(table) == ["count", "word", "all"]
    assert table["count"]["right"]["model"]["value"] == 0.75
    assert table["count"]["right"]["statements"]["value"] == 0
    assert table["word"]["right"]["statements"]["value"] == 1
    more = table["all"]["more"]["statements"]
    assert more["value"] == -0.125
    assert more["low"] < more["value"] < more["high"]
    assert table["count"]["more"]["statements"]["p"] < 0.01
    assert (table["all"]["questions"], table["all"]["scenes"]) == (40, 20)
    assert best(table, ("model", "statements")) == "statements"


def test_who_guesses_says_what_was_right_most_often_in_training() -> None:
    learnt = [asked("count", "2"), asked("count", "1"), asked("count", "2"), asked("word", "sun")]
    assert likeliest_answers(learnt) == {"count": "2", "word": "sun"}
