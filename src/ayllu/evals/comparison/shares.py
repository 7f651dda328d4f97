"""How often two models are right on the same items: the difference, its interval, and what chance alone could make."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from ayllu.evals.comparison.paired import clustered_share_interval, paired_share_interval, permutation_p
from ayllu.evals.statistics import detectable_difference, holm, mcnemar


def share_difference(first: Sequence[bool], second: Sequence[bool], clusters: Sequence[Hashable]) -> dict[str, Any]:
    """{"value", "low", "high", "p", "p_holm", "only_first", "only_second", "detectable"}, second minus first.

    Tango's interval and the exact McNemar test. Items that share a label in `clusters` are not independent: there it is
    Student's t and a permutation test over labels, and Tango's interval of as many items as there are labels where no
    item tells the two apart, for then nothing varies between labels. `p_holm` is None until `adjust` has it.
    `detectable` is the smallest difference that as many discordant items would show four times in five (None: none).
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    if (count := len(set(clusters))) < len(first):
        interval = (
            clustered_share_interval(first, second, clusters)
            if only_first + only_second
            else paired_share_interval(0, 0, count)
        )
        p = permutation_p(first, second, clusters=clusters)
    else:
        interval = paired_share_interval(only_first, only_second, len(first))
        p = mcnemar(only_first, only_second)
    return {
        **interval.as_json(),
        "p": p,
        "p_holm": None,
        "only_first": only_first,
        "only_second": only_second,
        "detectable": detectable_difference(len(first), (only_first + only_second) / len(first)),
    }


def adjust(differences: Iterable[dict[str, Any]]) -> None:
    """Fill in `p_holm` of differences that are looked at together (those without a p are no tests)."""
    tested = [entry for entry in differences if entry.get("p") is not None]
    for entry, p in zip(tested, holm([entry["p"] for entry in tested]), strict=True):
        entry["p_holm"] = p


def labels(named: Sequence[tuple[str, str]]) -> list[str]:
    """What each of (id, cluster) is counted by: its cluster, or itself where it has none."""
    return [f"cluster {cluster}" if cluster else f"item {key}" for key, cluster in named]
