"""Several who answered the same questions about the same held-out scenes: per kind of question, paired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ayllu.data.scenes.questions import KINDS, Question
from ayllu.evals.comparison.paired import clustered_share_interval, permutation_p
from ayllu.evals.profile.check import gives
from ayllu.evals.statistics import share_interval

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Replied:
    """A question about a scene, and what each said to it."""

    scene: int
    """Number of the scene: questions about one are not independent."""
    question: Question
    replies: Mapping[str, str]

    def right(self, who: str) -> bool:
        """Whether somebody's reply gives the answer."""
        choices = (self.question.answer, *self.question.wrong)
        return gives(self.replies[who], self.question.answer, choices, number=self.question.kind == "count")


def likeliest_answers(learnt: Iterable[Question]) -> dict[str, str]:
    """The commonest answer to each kind of question of the training side: what who sees nothing does best to say."""
    counts: dict[str, Counter[str]] = {}
    for question in learnt:
        counts.setdefault(question.kind, Counter())[question.answer] += 1
    return {kind: count.most_common(1)[0][0] for kind, count in counts.items()}


def compare_replies(replied: Sequence[Replied], *, first: str) -> dict[str, Any]:
    """{kind or "all": {"questions", "scenes", "right": {who: interval}, "more": {other: {interval, "p"}}}}.

    `more` is how much more often `first` is right than each other, over the same questions; scenes are the units.
    """
    kinds = {kind: [one for one in replied if one.question.kind == kind] for kind in KINDS}
    return {kind: _compare(mine, first) for kind, mine in {**kinds, ALL: list(replied)}.items() if mine}


def _compare(replied: Sequence[Replied], first: str) -> dict[str, Any]:
    scenes = [one.scene for one in replied]
    right = {who: [one.right(who) for one in replied] for who in replied[0].replies}
    more = {}
    for other in right.keys() - {first}:
        interval = clustered_share_interval(right[other], right[first], scenes)
        more[other] = {**interval.as_json(), "p": permutation_p(right[other], right[first], clusters=scenes)}
    return {
        "questions": len(replied),
        "scenes": len(set(scenes)),
        "right": {who: share_interval(values, clusters=scenes).as_json() for who, values in right.items()},
        "more": dict(sorted(more.items())),
    }


def best(table: Mapping[str, Any], among: Sequence[str]) -> str:
    """Who is right most often over all questions; of equals the one that is named first."""
    shares = table[ALL]["right"]
    return max(among, key=lambda who: shares[who]["value"])
