"""Tables of documents, made of the records: `python bench/tables.py`; `--check` only looks, with exit code 1.

A table stands between `<!-- record: NAME -->` and `<!-- end of record -->`; the bench of that name says how it looks.
Where there is no record yet, what stands there stays, and must say of which commit and day it is. A table of the README
that stands elsewhere is an error, but for those in `OLDER`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gateway
import grpo
import lab_page
import ladder
import masks
import planner
import post
import startup
import train_step
from glasses import echo, session, translation, wearer
from keep import RECORDS, ROOT
from measuring import agreement, cria, evals, hazards, planted, profiles, puzzles, repetition, smol, tasks, verify
from serving import clients, engines, larger, load, native_peers

import safety

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "agreement": agreement.table,
    "assistant/tasks": tasks.table,
    "serving/clients": clients.table,
    "engines": engines.table,
    "evals_bfloat16": evals.table,
    "evals_float32": evals.table,
    "glasses/session": session.table,
    "glasses/translation": translation.table,
    "glasses/wearer": wearer.table,
    "glasses/echo": echo.table,
    "training/cria": cria.table,
    "training/grpo": grpo.table,
    "training/ladder": ladder.table,
    "gateway": gateway.table,
    "lab/page": lab_page.table,
    "serving/larger": larger.table,
    "serving/native_peers": native_peers.table,
    "serving/gateway_load": load.table,
    "masks": masks.table,
    "planner": planner.table,
    "planted": planted.table,
    "training/post": post.table,
    "profiles": profiles.table,
    "puzzles/arc_agi_1": puzzles.table,
    "puzzles/arc_agi_2": puzzles.table,
    "repetition": repetition.table,
    "safety": safety.table,
    "safety/hazards": hazards.table,
    "smol": smol.table,
    "startup": startup.table,
    "training/train_step": train_step.table,
    "verify": verify.table,
}
"""Records and who makes a table of their figures."""
BEHIND = {"evals_float32": "evals_bfloat16"}
"""Records that stand behind another as soon as there is one of them."""
OLDER = {
    "| | tokens/s | of a product's speed (680 TFLOP/s) | memory, GiB |": "fa0cbb9",
}
"""Heads of tables that are older than the records, and the commit that each is of, which its section names: each goes
from here when its bench is run again."""
TABLE = re.compile(r"^(\|.*)\n\|[-| :]+\|\n", re.MULTILINE)
PLACE = re.compile(r"(<!-- record: ([\w/-]+) -->\n).*?(<!-- end of record -->)", re.DOTALL)
ORIGIN = re.compile(r"\bof [0-9a-f]{7} on \d{4}-\d\d-\d\d\b")
"""Where figures without a record come from."""


def section(name: str, folder: Path = RECORDS) -> str:
    """The table of a record, and a line that says where it comes from."""
    record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    machine = record["machine"]
    versions = {"Python": machine["python"], "torch": machine["versions"]["torch"]} | record["peers"]
    told = ", ".join(f"{package} {version}" for package, version in versions.items())
    return (
        f"{TABLES[name](record['figures'])}\n\n"
        f"`{record['command']}` at {record['commit'][:7]} on {record['date']}; {machine['processor']}, "
        f"{machine['cores']} cores; {told}; every round in `bench/records/{name}.json`.\n"
    )


def filled(text: str, folder: Path = RECORDS) -> str:
    """A document with the tables that its records give."""

    def fill(place: re.Match[str]) -> str:
        return place[0] if waits(place[2], folder) else f"{place[1]}\n{section(place[2], folder)}\n{place[3]}"

    return PLACE.sub(fill, placed(text, folder))


def placed(text: str, folder: Path) -> str:
    """A document with places for what stands `BEHIND` others of it."""
    for name, other in BEHIND.items():
        here = next((place for place in PLACE.finditer(text) if place[2] == other), None)
        if here and (folder / f"{name}.json").is_file() and f"<!-- record: {name} -->" not in text:
            text = f"{text[: here.end()]}\n\n<!-- record: {name} -->\n{here[3]}{text[here.end() :]}"
    return text


def waits(name: str, folder: Path = RECORDS) -> bool:
    """Whether a bench has no record yet."""
    return name in TABLES and not (folder / f"{name}.json").exists()


def unrecorded(text: str) -> list[str]:
    """What is wrong with tables outside of records: heads that nobody knows, and known ones that are gone."""
    found = TABLE.findall(PLACE.sub("", text))
    places = [place for place in PLACE.finditer(text) if waits(place[2]) and not ORIGIN.search(place[0])]
    unsaid = [head for head, commit in OLDER.items() if head in found and commit not in _section(text, head)]
    return [
        *(head for head in found if head not in OLDER),
        *(f"{head} (gone)" for head in OLDER if head not in found),
        *(f"{head} (of which commit?)" for head in unsaid),
        *(f"{place[2]} (of which commit?)" for place in places),
    ]


def _section(text: str, head: str) -> str:
    """What stands between a table and the heading before it."""
    return text[: text.index(head)].rpartition("\n## ")[2]


def main() -> None:
    if "--check" in sys.argv and (heads := unrecorded((ROOT / "README.md").read_text(encoding="utf-8"))):
        sys.exit(f"README.md: figures without a record: {'; '.join(heads)}; keep one with the bench's --keep")
    stale = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        new = filled(text)
        if new != text:
            stale.append(document.name)
            if "--check" not in sys.argv:
                document.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"{', '.join(stale)}: other figures than in bench/records; run python bench/tables.py")


if __name__ == "__main__":
    main()
