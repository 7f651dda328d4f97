"""What a user means: a name, the beginning of a key, a tag, or a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.integrity import shown
from ayllu.lab.shelf.index import Entry, entries
from ayllu.lab.store import Store

LEAST_DIGITS = 4
"""Of a key's beginning: fewer are rather part of a name."""


class NothingCalled(UserError):
    """There is nothing of that name."""


def find(store: Store, name: str, rows: Sequence[Entry] | None = None) -> Entry:
    """The row that `name` means. NothingCalled where none does, UserError where several do."""
    rows = entries(store) if rows is None else rows
    if (found := _by_folder(name, rows)) is not None:
        return found
    for meant in (
        [row for row in rows if name in row.channels],
        [row for row in rows if row.name == name and row.kind != "run"],
        [row for row in rows if f"{row.stage}-{row.key}".startswith(name) and "-" in name],
        _by_key(name, rows),
        [row for row in rows if name in row.tags],
        [row for row in rows if row.name == name and row.kind == "run"][:1],
    ):
        if meant:
            return _only(name, meant)
    raise NothingCalled(
        f"nothing in {store.home} is called {shown(name)}; give a name, the beginning of a key ({LEAST_DIGITS} digits "
        "or more), a tag or a folder; `ayllu list` shows them"
    )


def _by_key(name: str, rows: Iterable[Entry]) -> list[Entry]:
    if len(name) < LEAST_DIGITS or not re.fullmatch(r"[0-9a-f]+", name):
        return []
    return [row for row in rows if row.key and row.key.startswith(name)]


def _by_folder(name: str, rows: Iterable[Entry]) -> Entry | None:
    """The row whose folder `name` is, or lies in; None where it is no folder."""
    try:
        path = Path(name).expanduser()
        if not path.exists() or ("/" not in name and not path.is_dir()):
            return None
        places = {str(place) for place in (path.resolve(), *path.resolve().parents)}
    except (OSError, ValueError, RuntimeError):
        return None
    return next((row for row in rows if row.folder and str(Path(row.folder).resolve()) in places), None)


def _only(name: str, meant: list[Entry]) -> Entry:
    if len(meant) == 1:
        return meant[0]
    # One thing that is made again after it failed is there twice, under one key.
    if len({row.key for row in meant}) == 1:
        return min(meant, key=lambda row: row.state != "finished")
    told = ", ".join(f"{row.name} ({row.kind}, {(row.key or '')[:16]})" for row in meant[:5])
    more = f" and {len(meant) - 5} more" if len(meant) > 5 else ""
    raise UserError(f"{shown(name)} means {len(meant)} things: {told}{more}; give more of the key")
