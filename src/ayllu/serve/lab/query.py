"""Which rows the page shows: words and conditions, kinds, states, an order, and a page of them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.integrity import shown
from ayllu.lab.shelf.index import Entry, headline

PAGE = 100
MOST_COLUMNS = 12
FACETS = ("kind", "state", "stage", "tag")
PLAIN = ("created", "name", "kind", "state", "stage", "bytes", "seconds", "score", "key")
"""What every row has, and is ordered by."""
CONDITION = re.compile(r"([^<>=!]+)(<=|>=|!=|=|<|>)(.+)")
COMPARE: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge, "=": eq, "!=": ne}
OFFERED = 60
"""Settings and figures that the page offers as columns, the most frequent."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """What the address of the page asks for."""

    words: tuple[str, ...] = ()
    """Each stands in the name, stage, key, tags, channels, command or error, or is a condition such as lr>=0.001."""
    facets: Mapping[str, frozenset[str]]
    """Allowed values of kind, state, stage and tag; of those that are missing all."""
    sort: str = "created"
    up: bool = False
    first: int = 0
    columns: tuple[str, ...] = ()


def read_query(asked: Mapping[str, str]) -> Query:
    """The query of an address. UserError for what it does not know."""
    known = {"q", "sort", "dir", "from", "cols", *FACETS}
    if unknown := asked.keys() - known:
        raise UserError(f"{shown(min(unknown))} cannot be asked for; use {', '.join(sorted(known))}")
    first = asked.get("from", "0")
    if not re.fullmatch(r"\d{1,9}", first):
        raise UserError(f"from is {shown(first)}; give the number of a row")
    if asked.get("dir", "down") not in ("up", "down"):
        raise UserError(f"dir is {shown(asked['dir'])}; give up or down")
    columns = tuple(dict.fromkeys(_listed(asked.get("cols", ""))))
    if len(columns) > MOST_COLUMNS:
        raise UserError(f"{len(columns)} columns are asked for; {MOST_COLUMNS} are the most")
    return Query(
        words=tuple(asked.get("q", "").split()),
        facets={name: frozenset(_listed(asked[name])) for name in FACETS if asked.get(name)},
        sort=asked.get("sort", "created"),
        up=asked.get("dir") == "up",
        first=int(first),
        columns=columns,
    )


def answer(query: Query, rows: Sequence[Entry]) -> dict[str, Any]:
    """What the table shows: `total`, `matching`, `from`, `page`, `rows`, `facets` (values with counts) and `columns`
    that it could have."""
    matches = _matcher(query.words)
    worded = [row for row in rows if matches(row)]
    chosen = _within(worded, query.facets)
    ordered = _ordered(chosen, query)
    first = min(query.first, max(len(ordered) - 1, 0) // PAGE * PAGE)
    return {
        "total": len(rows),
        "matching": len(ordered),
        "from": first,
        "page": PAGE,
        "rows": [row_json(row, query.columns) for row in ordered[first : first + PAGE]],
        "facets": {name: _counts(name, worded, query.facets) for name in FACETS},
        "columns": _offered(chosen),
    }


def row_json(row: Entry, columns: Sequence[str] = ()) -> dict[str, Any]:
    """A row as the table shows it."""
    names = ("name", "kind", "key", "state", "created", "bytes", "stage", "seconds", "channels", "tags", "error")
    found = {name: getattr(row, name) for name in names}
    return {**found, "score": headline(row.scores), "more": {name: value_of(row, name) for name in columns}}


def value_of(row: Entry, name: str) -> Any:
    """A score, setting or figure of a row by its name; None where it has none of that name."""
    if name in row.scores:
        return row.scores[name]
    if name in row.facts:
        value = row.facts[name]
        return value if isinstance(value, bool | int | float | str) else None
    if name == "score":
        best = headline(row.scores)
        return best[1] if best else None
    return getattr(row, name) or None if name in PLAIN else None


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _matcher(words: Sequence[str]) -> Callable[[Entry], bool]:
    conditions, plain = [], []
    for word in words:
        found = CONDITION.fullmatch(word)
        if found:
            conditions.append((found[1].replace(":", " "), COMPARE[found[2]], found[3]))
        else:
            plain.append(word.lower())

    def matches(row: Entry) -> bool:
        if plain:
            parts = (row.name, row.stage, row.key or "", *row.tags, *row.channels, row.command or "", row.error or "")
            text = " ".join(parts).lower()
            if not all(word in text for word in plain):
                return False
        return all(_holds(value_of(row, name), how, wanted) for name, how, wanted in conditions)

    return matches


def _holds(value: Any, how: Callable[[Any, Any], bool], wanted: str) -> bool:
    """Whether a condition holds: of figures as figures, of all else as words; what is not there holds none."""
    if value is None:
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return how(float(value), float(wanted))
        except (ValueError, OverflowError):
            return False
    return how(str(value).lower(), wanted.lower())


def _has(row: Entry, name: str) -> Sequence[str]:
    return row.tags if name == "tag" else (getattr(row, name),)


def _within(rows: Sequence[Entry], facets: Mapping[str, frozenset[str]]) -> list[Entry]:
    return [row for row in rows if all(not facets[name].isdisjoint(_has(row, name)) for name in facets)]


def _counts(name: str, rows: Sequence[Entry], facets: Mapping[str, frozenset[str]]) -> list[list[Any]]:
    """How many rows each value of a facet has, with the other facets as they are; chosen ones are there at 0 too."""
    others = {other: values for other, values in facets.items() if other != name}
    counts = Counter(value for row in _within(rows, others) for value in _has(row, name) if value)
    counts.update(dict.fromkeys(facets.get(name, ()), 0))
    return [[value, count] for value, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def _offered(rows: Sequence[Entry]) -> list[str]:
    """Names of scores, settings and figures that rows have, the most frequent first."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.scores.keys())
        if row.kind != "run":
            counts.update(row.facts.keys())
    return [name for name, _ in counts.most_common(OFFERED) if "," not in name]


def _says(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _ordered(rows: list[Entry], query: Query) -> list[Entry]:
    """By figure or word; rows that have none, or a figure that is no number, come last."""
    name = query.sort
    if name == "created":
        return rows[::-1] if query.up else rows
    found = [(value_of(row, name), row) for row in rows]
    here = [(value, row) for value, row in found if _says(value)]
    if not here and name not in PLAIN and rows:
        raise UserError(f"none of these has {shown(name)} to be ordered by")
    number = all(isinstance(value, int | float) for value, _ in here)
    here.sort(key=lambda pair: pair[0] if number else str(pair[0]).lower(), reverse=not query.up)
    return [row for _, row in here] + [row for value, row in found if not _says(value)]
