"""The release before: what a change log needs of it, kept when it verified, and the log that a release then holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.evals.comparison.kept import compare_kept
from ayllu.lab.error import UserError

SCORE_FILES = ("scores.json", "items.jsonl", "documents.jsonl")
FACTS = "facts.json"
CHANGES = "CHANGES.md"
KINDS = ("model", "sources", "settings")
"""What is compared by name; files and scores apart."""
HEAD = {"model": "Model", "sources": "Sources", "settings": "Settings"}


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A release that verified."""

    facts: Mapping[str, Any]
    """`title`, `key` and `model_digest`, and by name what `KINDS` say."""
    scores: Path
    """Folder of its scores."""


def kept_earlier(digest: str, cache: Path) -> Earlier:
    """What `keep_earlier` kept. Raises UserError where it is gone."""
    place = earlier_place(digest, cache)
    try:
        return Earlier(facts=json.loads((place / FACTS).read_text(encoding="utf-8")), scores=place)
    except (OSError, ValueError):
        raise UserError(f"{place} does not hold the release before any more: give it with --previous again") from None


def earlier_place(digest: str, cache: Path) -> Path:
    """Where what is kept of a release lies."""
    return cache / "releases" / digest


def changes_since(before: Earlier, *, title: str, key: str, parts: Mapping[str, Any], scores: Path) -> dict[str, Any]:
    """What records.json says of the release before and of what is different now, scores as `ayllu compare` does."""
    try:
        rows = compare_kept((before.facts["title"], {"release": before.scores}), (title, {"release": scores}))
        problem = "" if rows else "no score was measured on both"
    except UserError as error:
        rows, problem = [], str(error)
    return {
        "before": before.facts["title"],
        "model_digest": before.facts["model_digest"],
        "same_key": before.facts["key"] == key,
        **{kind: list(differences(before.facts[kind], parts[kind])) for kind in KINDS},
        "scores": rows,
        "not_compared": problem,
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Names whose values are not the same, with both; None for what is not there."""
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield {"name": name, "before": before.get(name), "after": after.get(name)}


def change_log(records: Mapping[str, Any]) -> str:
    """The page of what changed, from the records of a release that says so."""
    release, found = records["release"], records["changes"]
    by = "the same key signed both" if found["same_key"] else "another key signed it"
    lines = [
        f"# What changed from {_cell(found['before'])} to {_cell(release['name'])} {_cell(release['version'])}\n",
        f"The weights of {_cell(found['before'])} have the digest `{_cell(found['model_digest'])}`; {by}.\n",
    ]
    for kind in KINDS:
        if found[kind]:
            rows = [[row["name"], row["before"], row["after"]] for row in found[kind]]
            lines += [f"## {HEAD[kind]}\n", _table(("", "before", "after"), rows)]
    lines.append("## Scores\n")
    if found["scores"]:
        rows = [
            [row["score"], _number(row["first"]), _number(row["second"]), _number(row["difference"], sign=True),
             "none" if row["low"] is None else f"{_number(row['low'], sign=True)} to {_number(row['high'], sign=True)}",
             row["items"]]
            for row in found["scores"]
        ]  # fmt: skip
        head = ("score", "before", "after", "difference", "interval", "items")
        lines += [_table(head, rows), "Paired item by item; the intervals hold with 95 % confidence."]
    else:
        lines.append(f"Not compared: {_cell(found['not_compared'])}.")
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def _number(value: float, *, sign: bool = False) -> str:
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def _cell(value: Any) -> str:
    text = "not there" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
