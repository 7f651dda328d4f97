"""Scores of four questions and three documents, few enough to be checked by hand."""

from __future__ import annotations

from ayllu.evals.score import DocumentBits, Outcome, Scores


def outcome(number: int, log_likelihoods, sizes, gold=0, **options) -> Outcome:
    return Outcome(
        id=f"hellaswag/{number}",
        set="hellaswag",
        digest=f"{number:016x}",
        gold=gold,
        log_likelihoods=tuple(log_likelihoods),
        bytes=tuple(sizes),
        **{"tokens": tuple(max(1, size // 2) for size in sizes), **options},
    )


def scores() -> Scores:
    outcomes = (
        outcome(0, (-10.0, -20.0), (5, 20), overlap=True),  # right; by length -2.0 to -1.0: wrong
        outcome(1, (-20.0, -10.0), (20, 5), overlap=False, tokens=(5, 4)),  # wrong; by length -1.0 to -2.0: right
        outcome(2, (-3.0, -9.0), (6, 6), overlap=False),  # right both ways
        outcome(3, (-9.0, -8.0), (9, 8), gold=1),  # right; by length a tie, which the first choice wins
    )
    documents = (
        DocumentBits(source="books", digest="a", bits=300.0, bytes=200, tokens=70),
        DocumentBits(source="books", digest="b", bits=150.0, bytes=100, tokens=40),
        DocumentBits(source="letters", digest="c", bits=90.0, bytes=100, tokens=40),
    )
    return Scores(
        outcomes=outcomes,
        documents=documents,
        trained_on={"hellaswag": ("web",)},
        about={"suite": "mine", "dtype": "x"},
    )
