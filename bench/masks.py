"""Masks over personal data beside Presidio's recognisers, on the labelled lines of `tests/data/cleaning/test_pii.py`.

Run as `python bench/masks.py` where presidio-analyzer is installed; it prints recall (lines of which the personal part
is found) and precision (of the lines in which something is found, those with a person's). The lines were written with
the rules at hand, so they show where the two differ, not how either does on the web's text. `--keep` writes the record.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keep import keep

from ayllu.data.cleaning.pii import mask

LINES = Path(__file__).parents[1] / "tests" / "data" / "cleaning" / "test_pii.py"


def labelled() -> tuple[list[str], list[str]]:
    """Lines with personal data, and lines with other numbers."""
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(LINES.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
    }
    personal = [line.split("|")[0] for line in values["PERSONAL"].strip().splitlines()]
    return personal, values["OTHER"].strip().splitlines()


def presidio() -> Callable[[str], bool]:
    """Whether one of Presidio's recognisers by pattern finds something that its default threshold would report."""
    from presidio_analyzer import predefined_recognizers as known

    names = ("PhoneRecognizer", "EmailRecognizer", "IpRecognizer", "CreditCardRecognizer", "IbanRecognizer")
    recognisers = [getattr(known, name)() for name in (*names, "UsSsnRecognizer")]

    def found(text: str) -> bool:
        return any(each.analyze(text, each.supported_entities, None) for each in recognisers)

    return found


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    rows = [f"| {name} | {each['recall']:.2f} | {each['precision']:.2f} |" for name, each in figures["masks"].items()]
    count = f"{figures['personal']} lines with personal data, {figures['other']} with other numbers"
    return "\n".join([f"| {count} | recall | precision |", "|---|---|---|", *rows])


def main() -> None:
    """Print a row for each; with `--keep`, write the record."""
    personal, others = labelled()
    measured, rounds = {}, {}
    for name, found in (("Ayllu", lambda text: bool(mask(text)[1])), ("Presidio", presidio())):
        hits = [[text for text in lines if found(text)] for lines in (personal, others)]
        right, wrong = map(len, hits)
        measured[name] = {"recall": right / len(personal), "precision": right / max(1, right + wrong)}
        rounds[name] = {"missed": [text for text in personal if text not in hits[0]], "wrong": hits[1]}
        print(f"{name:10} recall {measured[name]['recall']:.2f}  precision {measured[name]['precision']:.2f}")
    if "--keep" in sys.argv:
        figures = {"masks": measured, "personal": len(personal), "other": len(others)}
        keep("masks", figures, rounds=rounds, peers={"presidio-analyzer": version("presidio-analyzer")})


if __name__ == "__main__":
    main()
