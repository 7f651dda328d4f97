"""How good translations are, and how long a sentence takes.

    python bench/glasses/translation.py [--keep]

Thirty sentences that travellers say, written by hand in English, Portuguese and Spanish for this bench: a small set,
and one reference each. chrF2 is that of Popović 2015 (https://aclanthology.org/W15-3049) with n-grams of one to six
letters, over the whole set. Beside each way stands what came in, untranslated. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.data.archive import default_cache
from ayllu.device.translate.apertium import Apertium
from ayllu.device.translate.translator import WAYS, Translator
from ayllu.lab.error import UserError

FILE = Path(__file__).with_name("sentences.tsv")
ORDER, BETA = 6, 2.0
DIRECT = {("en", "es"): "eng-spa", ("es", "en"): "spa-eng"}
"""Apertium's own ways between English and Spanish (Debian's apertium-eng-spa), to compare."""


def sentences() -> dict[str, list[str]]:
    """By language."""
    head, *rows = [line.split("\t") for line in FILE.read_text(encoding="utf-8").splitlines()]
    return {language: [row[place] for row in rows] for place, language in enumerate(head)}


def chrf(found: Sequence[str], wanted: Sequence[str]) -> float:
    """chrF2 of texts against one reference each, 0 to 100; spaces do not count."""
    scores = []
    for order in range(1, ORDER + 1):
        matches = mine = theirs = 0
        for one, other in zip(found, wanted, strict=True):
            a, b = grams(one, order), grams(other, order)
            matches, mine, theirs = matches + (a & b).total(), mine + a.total(), theirs + b.total()
        scores.append((matches / max(1, mine), matches / max(1, theirs)))
    precision, recall = np.mean(scores, axis=0)
    return float(100 * (1 + BETA**2) * precision * recall / max(1e-9, BETA**2 * precision + recall))


def grams(text: str, order: int) -> Counter[str]:
    """Runs of so many letters."""
    letters = "".join(text.split())
    return Counter(letters[at : at + order] for at in range(len(letters) - order + 1))


def measured() -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures, and each sentence."""
    texts, rows, rounds = sentences(), {}, {}
    for source, target in WAYS:
        translator = Translator(source, target, default_cache())
        translator.translate(texts[source][0])
        found, times = [], []
        for text in texts[source]:
            start = time.perf_counter()
            found.append(translator.translate(text))
            times.append(1000 * (time.perf_counter() - start))
        way = f"{source} to {target}"
        rounds[way] = [{"said": a, "found": b} for a, b in zip(texts[source], found, strict=True)]
        rows[way] = {
            "by": translator.name,
            "chrf": round(chrf(found, texts[target]), 1),
            "untranslated": round(chrf(texts[source], texts[target]), 1),
            "milliseconds": {"p50": round(float(np.median(times))), "p95": round(float(np.percentile(times, 95)))},
            "direct": direct(source, target, texts),
        }
    return {"sentences": len(texts["en"]), "rows": rows}, rounds


def direct(source: str, target: str, texts: Mapping[str, Sequence[str]]) -> float | None:
    """chrF2 of Apertium's own way, where there is one here."""
    try:
        program = Apertium(DIRECT[source, target])
    except (KeyError, UserError):
        return None
    return round(chrf([program.sentence(text) for text in texts[source]], texts[target]), 1)


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = ["| | by | chrF2 | untranslated | ms a sentence, p50 / p95 |", "|---|---|---|---|---|"]
    for way, row in figures["rows"].items():
        other = f" (Apertium's own way: {row['direct']:.1f})" if row["direct"] is not None else ""
        times = row["milliseconds"]
        score = f"{row['chrf']:.1f}{other} | {row['untranslated']:.1f}"
        lines.append(f"| {way} | {row['by']} | {score} | {times['p50']} / {times['p95']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    figures, rounds = measured()
    print(json.dumps(figures, indent=1))
    print(table(figures), file=sys.stderr)
    if given.keep:
        keep("glasses/translation", figures, rounds=rounds, seed=0)


if __name__ == "__main__":
    main()
