"""Items of standard sets against a text, such as a training corpus: which stand in it, word for word or nearly so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ayllu.evals.contamination.exact import WORDS, find_overlap
from ayllu.evals.contamination.near import SHARE, find_near_duplicates
from ayllu.evals.item import Item
from ayllu.evals.likelihood.heldout import read_texts
from ayllu.evals.standard.prompts import chosen_rows
from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.task import Task
from ayllu.evals.table import aligned

HEAD = ("set", "items", "13 words", "of", "nearly so", "of")


def measure_overlap(tasks: Sequence[Task], reader: Reader, text: Path, *, items: int | None = None) -> dict[str, Any]:
    """{"words", "share", "not_measured", "sets": [{"set", "items", "checked", "found", "near_checked", "near_found"}]}.

    `found` and `near_found` are the ids of items of which `words` words in a row, or `share` of the word triples, stand
    in a document of `text`. Raises UserError where the text cannot be read.
    """
    lacking = {task.name: ", ".join(task.needs) for task in tasks if any(reader.find(n) is None for n in task.needs)}
    asked: list[Item] = []
    for task in (task for task in tasks if task.name not in lacking):
        asked += (
            Item(id=key, set=task.name, context="", choices=(), gold=0, plain=task.plain(row))
            for key, row in chosen_rows(task, reader, items)
        )
    documents = [document for _, document in read_texts(text)]
    exact, near = find_overlap(asked, documents), find_near_duplicates(asked, documents)
    sets = []
    for name in dict.fromkeys(item.set for item in asked):
        ids = [item.id for item in asked if item.set == name]
        sets.append(
            {
                "set": name,
                "items": len(ids),
                "checked": sum(key in exact.checked for key in ids),
                "found": [key for key in ids if key in exact.found],
                "near_checked": sum(key in near.checked for key in ids),
                "near_found": [key for key in ids if key in near.found],
            }
        )
    missing = {name: f"name {files} with --data" for name, files in lacking.items()}
    return {"words": WORDS, "share": SHARE, "not_measured": missing, "sets": sets}


def overlap_table(found: Mapping[str, Any]) -> str:
    """A table for the terminal, from what `measure_overlap` gives."""
    rows = [
        (
            entry["set"],
            f"{entry['items']:,}",
            f"{len(entry['found']):,}",
            f"{entry['checked']:,}",
            f"{len(entry['near_found']):,}",
            f"{entry['near_checked']:,}",
        )
        for entry in found["sets"]
    ]
    missing = "".join(f"\n{name}: not measured ({why})" for name, why in found["not_measured"].items())
    note = (
        f"Nearly so: {found['share']:.0%} of an item's word triples together in a document. Short items: not checked."
    )
    return f"{aligned(HEAD, rows)}\n\n{note}{missing}\n"
