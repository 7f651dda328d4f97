"""What the search for contamination finds of planted items, and what it takes for one that is none.

    python bench/measuring/planted.py [--items 300] [--rounds 3] [--keep]

Items of PIQA and ARC-Challenge are planted into Moby-Dick, one a chapter in turn: whole, with every eighth word
changed, with every fifth word left out, with the halves exchanged, and, as what must not be found, with all words
shuffled. Each round draws other items. The record has how many of those that are long enough are found, and how many in
the text without plants.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.evals.contamination.exact import find_overlap
from ayllu.evals.contamination.near import find_near_duplicates
from ayllu.evals.item import Item
from ayllu.evals.standard.prompts import chosen_rows
from ayllu.evals.standard.rows import Reader, open_reader
from ayllu.evals.standard.table import TASKS
from ayllu.evals.statistics import wilson

Edit = Callable[[list[str], random.Random], list[str]]


def shuffled(words: list[str], draw: random.Random) -> list[str]:
    return draw.sample(words, len(words))


EDITS: Mapping[str, Edit] = {
    "whole": lambda words, draw: words,
    "every eighth word changed": lambda words, draw: [
        draw.choice(words) if n % 8 == 7 else w for n, w in enumerate(words)
    ],
    "every fifth word left out": lambda words, draw: [word for n, word in enumerate(words) if n % 5 != 4],
    "halves exchanged": lambda words, draw: [*words[len(words) // 2 :], *words[: len(words) // 2]],
    "shuffled": shuffled,
    "not planted": lambda words, draw: [],
}


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--items", type=int, default=300)
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--keep", action="store_true")
    asked = given.parse_args()
    reader = open_reader()
    pool = [
        Item(id=key, set=name, context="", choices=(), gold=0, plain=TASKS[name].plain(row))
        for name in ("piqa", "arc_challenge")
        for key, row in chosen_rows(TASKS[name], reader, None)
    ]
    rounds = [counted(pool, chapters(reader), asked.items, seed) for seed in range(asked.rounds)]
    figures = {
        edit: {kind: pooled([one[edit][kind] for one in rounds]) for kind in ("exact", "near")} for edit in EDITS
    }
    print(table(figures))
    if asked.keep:
        keep("planted", figures, rounds=rounds, seed=0)


def chapters(reader: Reader) -> list[str]:
    """The documents that items are planted into."""
    return [text for _, row in chosen_rows(TASKS["moby_dick"], reader, None) if (text := TASKS["moby_dick"].plain(row))]


def counted(pool: list[Item], documents: list[str], count: int, seed: int) -> dict[str, dict[str, list[int]]]:
    """By edit and search: how many planted items are long enough to be judged, and how many of them are found."""
    draw = random.Random(seed)
    items = draw.sample(pool, count)
    found: dict[str, dict[str, list[int]]] = {}
    for edit, change in EDITS.items():
        texts = list(documents)
        for number, item in enumerate(items):
            place = number % len(texts)
            texts[place] += "\n" + " ".join(change(item.plain.split(), draw))
        exact, near = find_overlap(items, texts), find_near_duplicates(items, texts)
        found[edit] = {
            "exact": [len(exact.checked), len(exact.found)],
            "near": [len(near.checked), len(near.found & near.checked)],
        }
    return found


def pooled(counts: list[list[int]]) -> dict[str, float]:
    checked, found = (sum(column) for column in zip(*counts, strict=True))
    interval = wilson(found, checked)
    return {"checked": checked, "found": found, "share": found / checked, "low": interval.low, "high": interval.high}


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""

    def cell(one: Mapping[str, Any]) -> str:
        return f"{one['share']:.1%} ({one['low']:.1%} to {one['high']:.1%}) of {one['checked']:,}"

    rows = [f"| {edit} | {cell(each['exact'])} | {cell(each['near'])} |" for edit, each in figures.items()]
    return "\n".join(["| planted | 13 words in a row | nearly so |", "|---|---|---|", *rows])


if __name__ == "__main__":
    main()
