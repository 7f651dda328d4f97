"""Write docs/serving/fields.md's tables: `python docs/serving/openai_fields.py`; `--check` only looks.

Every field of the official clients' request types, at any depth, and what the server does with it. The fields and their
values come from the packages `openai` and `anthropic`. What is done with them is tried (`walk.py`, `routes.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from routes import QUERIES, ROUTES
from walk import Route, Row, Walk, hints

PAGE = Path(__file__).resolve().parent / "fields.md"
BEGIN, END = "<!-- fields: written by docs/serving/openai_fields.py -->", "<!-- end of fields -->"


def told(route: Route, rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """The table of a route, and what the server takes beyond the official types."""
    lines, own = [f"## `{route.name}`", ""], rows[route.name]
    if route.like is not None:
        name, here, there = route.like
        others = set(rows[name])
        own = [row for row in own if (row[0].replace(here, there, 1) if here else row[0], *row[1:]) not in others]
        alike = f"`{here}` is what `{there}` is there" if here else "the rest is as there"
        lines += [f"As [`{name}`](#{anchor(name)}): {alike}.", ""]
    lines += table(own)
    more = sorted((route.more.model_fields if route.more else {}).keys() - hints(route.kind).keys())
    if more:
        lines += [f"Beyond the official types: {', '.join(f'`{name}`' for name in more)}.", ""]
    return lines


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as Markdown; nothing where there are none."""
    if not rows:
        return []
    return ["| field | | |", "|---|---|---|", *(f"| `{path}` | {done} | {note} |" for path, done, note in rows), ""]


def anchor(name: str) -> str:
    """How a heading is linked to."""
    return "".join(sign for sign in name.lower().replace(" ", "-") if sign.isalnum() or sign in "-_")


def tables() -> str:
    """The tables of all routes."""
    rows = {route.name: Walk(route).rows() for route in ROUTES}
    lines = [line for route in ROUTES for line in told(route, rows)]
    for query in QUERIES:
        lines += [f"## `{query.name}`", "", *table(query.rows())]
    return "\n".join(lines)


def written() -> str:
    """The page with the tables as they are now."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    page = written()
    if "--check" in sys.argv[1:]:
        current = page == PAGE.read_text(encoding="utf-8")
        sys.exit(None if current else "docs/serving/fields.md is old: run docs/serving/openai_fields.py")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
