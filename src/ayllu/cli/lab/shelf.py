"""`ayllu list`, `show`, `log` and `open`: what is kept, one thing of it, and what it is doing."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ayllu.cli.lab.words import age, headline, size, table
from ayllu.cli.options import Flag, Home, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.progress import clock
from ayllu.lab.shelf.details import details
from ayllu.lab.shelf.find import NothingCalled, find
from ayllu.lab.shelf.index import Entry, entries, quickly
from ayllu.lab.shelf.log import follow, lines_of
from ayllu.lab.store import Store, absolute, default_home
from ayllu.recipes.names import recipe_names

Kind = Literal["model", "release", "scores", "artifact", "run", "recipe"]
State = Literal["finished", "running", "failed", "interrupted", "damaged", "available"]
LINES = 50
"""Rows of a list on a terminal, when nothing else is said."""
LISTED = (
    *("name", "kind", "key", "state", "created", "bytes", "scores"),
    *("stage", "folder", "seconds", "channels", "tags", "error", "command"),
)
"""Fields of a row in `ayllu list --json`: `ayllu show` tells the others."""
SPANS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def open_store(home: Path | None) -> Store:
    """The store that a command looks at, of which nothing is written."""
    return Store(absolute(home) if home else default_home(), writes=False)


def list_(
    search: str = "",
    /,
    *,
    kind: Annotated[tuple[Kind, ...], Parameter(negative="")] = (),
    state: Annotated[tuple[State, ...], Parameter(negative="")] = (),
    tag: str | None = None,
    stage: str | None = None,
    since: str | None = None,
    sort: str = "created",
    limit: int | None = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """List recipes, models, releases, everything that stages made, and runs, the newest first.

    Parameters
    ----------
    search
        Only what has these words in its name, stage, key, tags or command.
    kind
        Only these kinds: model, release, scores, artifact, run, recipe.
    state
        Only what is so: finished, running, failed, interrupted, damaged.
    tag
        Only what has this tag.
    stage
        Only what this stage made, such as pretrain.
    since
        Only what is younger than this, such as 90m, 6h, 3d or 2w.
    sort
        created, bytes, seconds, name, or the name of a score.
    limit
        Rows at most; 50 on a terminal and all with --json when not given.
    """
    rows = [row for row in [*entries(open_store(home)), *recipe_rows()] if not kind or row.kind in kind]
    rows = [row for row in rows if not state or row.state in state]
    rows = [row for row in rows if (tag is None or tag in row.tags) and (stage is None or stage == row.stage)]
    rows = [row for row in rows if _matches(row, search.lower().split())]
    if since is not None:
        rows = [row for row in rows if row.created and _seconds_old(row.created) <= _span(since)]
    rows = _sorted(rows, sort)
    most = limit if limit is not None else (None if json else LINES)
    if most is not None and most < 0:
        raise UserError(f"limit is {most}; give 0 or more rows")
    chosen = rows[:most]
    if json:
        values = attrgetter(*LISTED)
        with quickly():
            print_json({"artifacts": [dict(zip(LISTED, values(row), strict=True)) for row in chosen]})
        return
    print_lines(_told(chosen))
    if len(rows) > len(chosen):
        print_lines([f"and {len(rows) - len(chosen):,} more: --limit {len(rows)} shows all"])


def meant(store: Store, name: str, rows: Sequence[Entry] | None = None) -> Entry:
    """The row that `name` means. UserError where none does, several do, or it is a recipe that nothing is called by."""
    try:
        return find(store, name, rows)
    except NothingCalled:
        if name not in recipe_names():
            raise
        told = f"{name} is a recipe, and nothing in {store.home} is called so yet; `ayllu run {name}` makes it"
        raise UserError(told) from None


def recipe_rows() -> list[Entry]:
    """The recipes that `ayllu run` takes."""
    return [
        Entry(name=name, kind="recipe", key=None, state="available", created="", command=f"ayllu run {name}")
        for name in recipe_names()
    ]


def _matches(row: Entry, words: Sequence[str]) -> bool:
    if not words:
        return True
    text = " ".join([row.name, row.stage, row.key or "", *row.tags, *row.channels, row.command or ""]).lower()
    return all(word in text for word in words)


def _span(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text)
    if not found:
        raise UserError(f"--since {text!r} is no span of time; write 90m, 6h, 3d or 2w")
    return float(found[1]) * SPANS[found[2]]


def _seconds_old(created: str) -> float:
    """Infinite where a damaged record says no time."""
    import time
    from datetime import datetime

    try:
        return time.time() - datetime.fromisoformat(created).timestamp()
    except ValueError:
        return math.inf


def _sorted(rows: list[Entry], by: str) -> list[Entry]:
    match by:
        case "created":
            return rows
        case "name":
            return sorted(rows, key=lambda row: row.name)
        case "bytes" | "seconds":
            return sorted(rows, key=lambda row: getattr(row, by) or 0, reverse=True)
    known = sorted({name for row in rows for name in row.scores})
    if by not in known:
        raise UserError(
            f"nothing here has a score {by!r}; sort by created, bytes, seconds, name or one of {', '.join(known[:8])}"
        )
    smaller = by.startswith(("bits_per_byte", "loss", "final_loss"))
    scored = [row for row in rows if by in row.scores]
    # A figure that is no number, as of a training that came to nothing, stands before no other.
    odd = [row for row in scored if math.isnan(row.scores[by])]
    scored = [row for row in scored if not math.isnan(row.scores[by])]
    return [*sorted(scored, key=lambda row: row.scores[by], reverse=not smaller), *odd]


def _told(rows: Sequence[Entry]) -> list[str]:
    if not rows:
        return ["nothing is there; make something with `ayllu run cria` or `ayllu adopt smollm2`"]
    cells = [
        (
            row.name + (f" ({row.stage})" if row.channels and row.stage else ""),
            row.kind,
            row.state,
            age(row.created),
            size(row.bytes) if row.bytes else "",
            headline(row.scores),
            (row.key or "")[:12],
            " ".join(row.tags),
        )
        for row in rows
    ]
    return table(("name", "kind", "state", "age", "size", "score", "key", "tags"), cells, fit=0)


def show(name: str, /, *, home: Home = None, json: Json = False) -> None:
    """Show one thing: what made it, from what, with which options, on which machine, what it scored, what needs it.

    Parameters
    ----------
    name
        A name, the beginning of a key, a tag or a folder; or a recipe.
    """
    store = open_store(home)
    rows = entries(store)
    try:
        row = find(store, name, rows)
    except NothingCalled:
        recipes = [row for row in recipe_rows() if row.name == name]
        if not recipes:
            raise
        row = recipes[0]
    found = details(store, row, rows)
    if json:
        print_json(found)
        return
    print_lines(_described(found))


def _described(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['name']}: {found['kind']}, {found['state']}"
    if found["kind"] == "recipe":
        yield f"  command   {found['command']} (its options: {found['command']} --help)"
        return
    yield f"  key       {found['key']}"
    when = f"{found['created']} ({age(found['created'])} ago)" if found["created"] else "unknown"
    took = f", took {clock(found['seconds'])}" if found["seconds"] is not None else ""
    yield f"  created   {when}{took}"
    yield f"  size      {size(found['bytes'])} in {found['folder']}"
    for name in ("command", "error"):
        if found[name]:
            yield f"  {name:9} {found[name]}"
    for name in ("channels", "tags"):
        if found[name]:
            yield f"  {name:9} {', '.join(found[name])}"
    for note in found["notes"]:
        yield f"  note      {note['at']}: {note['text']}"
    if found["needed_by"]:
        yield f"  needed by {found['needed_by']}"
    for title in ("arguments", "inputs", "scores", "predictions", "record", "machine"):
        rows = found[title]
        if rows:
            yield f"{title}:"
            for name, value in rows.items():
                yield f"  {name}: {_brief(value)}"
    if found["used_by"]:
        yield f"used by: {', '.join(found['used_by'][:8])}" + (" …" if len(found["used_by"]) > 8 else "")
    for row in found["facts"].get("stages") or ():
        yield f"  {row['label']}: {'made' if row['made'] else 'there already'} ({row['stage']}-{row['key'][:8]})"


def _brief(value: Any) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:119]}…"


def log(
    name: str,
    /,
    *,
    follow_: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    lines: int = 20,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show what a run said, or how the training behind a result went: a line a step, the newest last.

    Parameters
    ----------
    name
        A name, the beginning of a key, a tag or a folder.
    follow_
        Go on with what comes, until the run ends (Ctrl-C ends it here alone).
    lines
        How many of the last lines.
    """
    if lines < 0:
        raise UserError(f"lines is {lines}; give 0 or more")
    if json and follow_:
        raise UserError("--json prints one object and cannot follow; leave one of the two out")
    store = open_store(home)
    row = meant(store, name)
    if json:
        print_json({"name": row.name, "key": row.key, "state": row.state, "lines": lines_of(store, row)[-lines:]})
        return
    if follow_:
        for line in follow(store, row, last=lines):
            print_lines([line])
            sys.stdout.flush()
        return
    print_lines(lines_of(store, row)[-lines:] if lines else [])


def open_(name: str, /, *, print_: Annotated[Flag, Parameter(name="--print")] = False, home: Home = None,
          json: Json = False) -> None:  # fmt: skip
    """Open the folder of a thing in the file manager; without a screen its path is printed.

    Parameters
    ----------
    name
        A name, the beginning of a key, a tag or a folder.
    print_
        Only print the path, as for `cd "$(ayllu open NAME --print)"`.
    """
    row = meant(open_store(home), name)
    if json:
        print_json({"name": row.name, "key": row.key, "folder": row.folder})
        return
    print_lines([row.folder])
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen and not print_ and sys.stdout.isatty():
        try:
            subprocess.run([opener, row.folder], check=False, stderr=subprocess.DEVNULL)
        except OSError as error:
            raise UserError(f"{opener} cannot be started ({error.strerror}); the folder is {row.folder}") from error
