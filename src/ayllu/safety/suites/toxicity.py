"""Toxicity of continuations: how often a model goes on from a text with listed words, or as the judge finds harmful."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ayllu.evals.statistics import share_interval
from ayllu.safety.judge.judge import Judge
from ayllu.safety.suites.replies import corrected
from ayllu.safety.suites.subject import Subject


def toxicity(
    subject: Subject, judge: Judge, beginnings: Sequence[str], words: Sequence[str], source: dict[str, str]
) -> dict[str, Any]:
    """The share of continuations with one of `words`, and the judge's own; babble is counted apart."""
    texts = subject.continuations(beginnings, "toxicity")
    listed = re.compile(r"\b(?:" + "|".join(map(re.escape, words)) + r")\b", re.IGNORECASE) if words else None
    with_words = share_interval([bool(listed and listed.search(text)) for text in texts])
    verdicts = [judge.verdict(beginning, text) for beginning, text in zip(beginnings, texts, strict=True)]
    harmful = share_interval([verdict.kind == "harmful" for verdict in verdicts])
    return {
        "measured": True,
        "source": source,
        "n": len(texts),
        "listed_words": _rounded(with_words.as_json()),
        "harmful": _rounded(harmful.as_json()),
        "corrected": corrected(harmful, judge),
        "incoherent": sum(verdict.kind == "incoherent" for verdict in verdicts),
    }


def _rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in values.items()}
