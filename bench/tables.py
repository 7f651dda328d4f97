"""Tables of documents, made of the records: `python bench/tables.py`; `--check` only looks, with exit code 1.

A table stands between `<!-- record: NAME -->` and `<!-- end of record -->`; the bench of that name says how it looks.
A table of the README that stands elsewhere is an error, but for those in `OLDER`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpo
import masks
import planner
import post
import startup
from keep import RECORDS, ROOT

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "grpo": grpo.table,
    "masks": masks.table,
    "planner": planner.table,
    "post": post.table,
    "startup": startup.table,
}
"""Records and who makes a table of their figures."""
OLDER = (
    "| | predicted | measured |",
    "| | adopted | final | difference, points |",
    "| ours is … times as fast as | transformers | litgpt | OLMo-core | of a 2048-cubed product's speed |",
    "| | tokens/s | of a product's speed (680 TFLOP/s) | memory, GiB |",
)
"""Heads of tables that are older than the records: each goes from here when its bench is run again."""
TABLE = re.compile(r"^(\|.*)\n\|[-| :]+\|\n", re.MULTILINE)
PLACE = re.compile(r"(<!-- record: ([\w-]+) -->\n).*?(<!-- end of record -->)", re.DOTALL)


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
    return PLACE.sub(lambda place: f"{place[1]}\n{section(place[2], folder)}\n{place[3]}", text)


def unrecorded(text: str) -> list[str]:
    """What is wrong with tables outside of records: heads that nobody knows, and known ones that are gone."""
    found = TABLE.findall(PLACE.sub("", text))
    return [head for head in found if head not in OLDER] + [f"{head} (gone)" for head in OLDER if head not in found]


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
