"""Two models on the same questions: the difference, paired, with what chance alone could make of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from ayllu.evals.comparison.paired import paired_mean_interval, paired_share_interval
from ayllu.evals.comparison.shares import adjust, labels, share_difference
from ayllu.evals.score import DocumentBits, Outcome, Scores, headline
from ayllu.evals.standard.compare import compare_answers
from ayllu.evals.statistics import mcnemar, mean_interval, ratio_interval, share_interval
from ayllu.lab.error import UserError

CONDITIONS = ("dtype", "chat_template", "repetition_penalty")
"""What of `about` makes answers to the same items differ."""


def compare_scores(first: Scores, second: Scores) -> dict[str, Any]:
    """How much the second model differs from the first, with 95 % intervals of the difference.

    Returns {"sets": {name: {"items", "headline", "accuracy": {...}, "gold_bits_per_byte": {"value", "low", "high"}}},
    "bits_per_byte": {source: {"value", "low", "high", "documents"}}, "answers": {...}, "conditions": {name: [first,
    second]}}. Accuracy is each set's headline accuracy, as `share_difference` has it, `answers` what `compare_answers`
    gives, where there are any; `p_holm` is adjusted for all tests of both. `conditions` are those that differ, such as
    the chat template, where any do. Above 0 the second is better in accuracy, below 0 in bits per byte. Raises
    UserError where the two were asked different items or read different documents.
    """
    _same_items(first, second)
    _same_documents(first, second)
    theirs = second.by_set()
    sets = {name: _set(name, outcomes, theirs[name]) for name, outcomes in first.by_set().items()}
    other = second.by_source()
    sources = {source: _source(documents, other[source]) for source, documents in first.by_source().items()}
    answers = compare_answers(first.answers, second.answers)
    adjust([*(entry["accuracy"] for entry in sets.values()), *answers.values()])
    more = {"answers": answers, "conditions": _conditions(first, second)}
    return {"sets": sets, "bits_per_byte": sources} | {key: found for key, found in more.items() if found}


def compare_verdicts(
    before: Sequence[bool], after: Sequence[bool], *, clusters: Sequence[Hashable] | None = None
) -> dict[str, Any]:
    """How often two models are right on the same items, in the same order, and the difference, second minus first.

    Returns {"items", "before", "after", "difference": {"value", "low", "high"} each, "p"}: shares with Wilson's
    intervals, the difference with Tango's, and the p-value of McNemar's test. Items that share a label in `clusters`
    are not independent: then the intervals are those of as many units as there are labels ("clusters"), the
    difference's with Student's t, and "p" is None, for that test knows none.
    """
    only_first = sum(a and not b for a, b in zip(before, after, strict=True))
    only_second = sum(b and not a for a, b in zip(before, after, strict=True))
    difference = (
        paired_mean_interval(before, after, clusters=clusters)
        if clusters
        else paired_share_interval(only_first, only_second, len(before))
    )
    found = {
        "items": len(before),
        "before": share_interval(before, clusters=clusters).as_json(),
        "after": share_interval(after, clusters=clusters).as_json(),
        "difference": difference.as_json(),
        "p": None if clusters else mcnemar(only_first, only_second),
    }
    return found | {"clusters": len(set(clusters))} if clusters else found


def _set(name: str, first: Sequence[Outcome], second: Sequence[Outcome]) -> dict[str, Any]:
    partners = {outcome.id: outcome for outcome in second}
    pairs = [(outcome, partners[outcome.id]) for outcome in first]
    verdict = "correct_norm" if headline(name, first) == "accuracy_norm" else "correct"
    first_right, second_right = ([bool(getattr(pair[side], verdict)) for pair in pairs] for side in (0, 1))
    clusters = labels([(outcome.id, outcome.cluster) for outcome in first])
    differences = [b.gold_bits_per_byte - a.gold_bits_per_byte for a, b in pairs if a.answered and b.answered]
    return {
        "items": len(pairs),
        "headline": headline(name, first),
        "accuracy": share_difference(first_right, second_right, clusters),
        "gold_bits_per_byte": mean_interval(differences).as_json() if differences else None,
    }


def _source(first: Sequence[DocumentBits], second: Sequence[DocumentBits]) -> dict[str, Any]:
    def ordered(documents: Sequence[DocumentBits]) -> list[DocumentBits]:
        return sorted(documents, key=lambda document: document.digest)

    pairs = list(zip(ordered(first), ordered(second), strict=True))
    interval = ratio_interval([b.bits - a.bits for a, b in pairs], [a.bytes for a, _ in pairs])
    return {**interval.as_json(), "documents": len(pairs)}


def _conditions(first: Scores, second: Scores) -> dict[str, list[Any]]:
    """In what the two were asked in another way; older scores do not say all of it."""
    told = {name: [scores.about.get(name) for scores in (first, second)] for name in CONDITIONS}
    return {name: pair for name, pair in told.items() if None not in pair and pair[0] != pair[1]}


def _same_beginning(first: Scores, second: Scores) -> None:
    """Raise UserError where items of one began with BOS and those of the other did not; older scores do not say."""
    kinds = [scores.about.get("first_token", {}).get("kind") for scores in (first, second) if scores.outcomes]
    if len({kind for kind in kinds if kind}) > 1:
        raise UserError(
            f"the two cannot be compared: one was measured with --first-token {kinds[0]}, the other with {kinds[1]}; "
            "measure one of them again"
        )


def _same_items(first: Scores, second: Scores) -> None:
    _same_beginning(first, second)
    if first.digest == second.digest:
        return
    mine, theirs = first.by_set(), second.by_set()
    for name in sorted(mine.keys() | theirs.keys()):
        a = {(outcome.id, outcome.digest) for outcome in mine.get(name, ())}
        b = {(outcome.id, outcome.digest) for outcome in theirs.get(name, ())}
        if a != b:
            raise UserError(
                f"the two cannot be compared: of {name} they were asked {len(a):,} and {len(b):,} items, "
                f"{len(a & b):,} of them the same; evaluate both on the same suite"
            )


def _same_documents(first: Scores, second: Scores) -> None:
    mine, theirs = first.by_source(), second.by_source()
    for source in sorted(mine.keys() | theirs.keys()):
        a = sorted(document.digest for document in mine.get(source, ()))
        b = sorted(document.digest for document in theirs.get(source, ()))
        if a != b:
            raise UserError(
                f"the two cannot be compared: of {source} they read {len(a):,} and {len(b):,} held-out documents, not "
                "the same ones; evaluate both on the same texts"
            )
