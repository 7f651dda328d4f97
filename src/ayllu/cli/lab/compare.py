"""`ayllu compare`: why results differ, in one screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ayllu.cli.lab.shelf import meant, open_store
from ayllu.cli.lab.words import size, table
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.progress import clock
from ayllu.lab.shelf import differences
from ayllu.lab.shelf.curves import Axis, curves, draw
from ayllu.lab.shelf.index import entries

MOST = 8
"""Rows of a part on the screen; --json has all."""


def compare(
    first: str,
    second: str,
    /,
    *others: str,
    picture: Path | None = None,
    by: Annotated[Axis | None, Parameter(negative="")] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Say why results differ: settings, data, code, libraries, machines, paired scores, curves and cost.

    Parameters
    ----------
    first
        What the others are compared with: a name, the beginning of a key, a tag or a folder.
    second
        Another one.
    others
        And more.
    picture
        Draw the losses of their trainings over each other into this file (.png or .svg).
    by
        Draw them by this axis alone: step, token, flop or second; all four when not given.
    """
    if picture is not None and picture.suffix not in (".png", ".svg"):
        raise UserError(f"{picture} is no name of a picture; end it with .png or .svg")
    if by is not None and picture is None:
        raise UserError(f"--by {by} needs --picture FILE, the picture that it is an axis of")
    found = compared([first, second, *others], home, picture=picture, by=by)
    if json:
        print_json(found)
        return
    print_lines(_told(found))


def compared(
    names: Sequence[str], home: Path | None, *, picture: Path | None = None, by: Axis | None = None
) -> dict[str, Any]:
    """The object of `ayllu compare --json`. UserError for what is not there, or was measured on different items."""
    from ayllu.evals.comparison.kept import compare_results

    store = open_store(home)
    rows = entries(store)
    sides = [differences.behind(meant(store, name, rows), rows) for name in names]
    lines = [curve for side in sides for curve in curves(store, side.row.name, side.rows)]
    if picture is not None:
        draw(lines, picture, by=by)
    return {
        **compare_results(sides, rows),
        "curves": [{"name": curve.name, "stage": curve.stage, "points": len(curve.loss)} for curve in lines],
        "picture": str(picture) if picture is not None else None,
    }


def _told(found: dict[str, Any]) -> Iterator[str]:
    names = found["names"]
    yield " against ".join(f"{name} ({key[:8]})" for name, key in zip(names, found["keys"], strict=True))
    parts = (
        ("settings", ("", *names), [(f"{r['stage']}: {r['name'] or 'there'}", *map(_short, r["values"]))
                                    for r in found["settings"]]),
        ("data", ("", *names), [(f"{r['stage']}: {r['why']}", *r["digests"]) for r in found["data"]]),
        ("code", ("stage", "of", "what"), [(r["stage"], r["of"], _listed([*r["libraries"], *r["parts"]]))
                                           for r in found["code"]]),
        ("machine", ("", *names), [(r["name"], *map(_short, r["values"])) for r in found["machine"]]),
        ("measured", ("", *names), [(f"{r['stage']}: {r['name']}", *map(_short, r["values"]))
                                    for r in found["measured"]]),
    )  # fmt: skip
    same = [title for title, _, rows in parts if not rows and title != "measured"]
    for title, head, rows in parts:
        if rows:
            yield ""
            yield from table((title, *head[1:]), rows[:MOST], fit=0)
            if len(rows) > MOST:
                yield f"and {len(rows) - MOST} more: --json has all"
    if same:
        yield ""
        yield f"the same: {', '.join(same)}"
    yield ""
    if found["scores"]:
        rows = [
            (
                f"{r['score']} ({r['items']:,})",
                r["of"],
                _short(r["first"]),
                _short(r["second"]),
                f"{r['difference']:+.4g}" + (f" ({r['low']:+.4g} to {r['high']:+.4g})" if r["low"] is not None else ""),
                {"first": names[0], "second": r["of"], None: "not shown"}[r["better"]],
            )
            for r in found["scores"]
        ]
        yield from table(("score (items)", "of", names[0], "it", "difference (95 %)", "better"), rows, fit=0)
    else:
        yield "no score was measured on both by one stage, so none is compared"
    yield ""
    costs = [
        (row["of"], clock(row["seconds"]), _short(row["flops"]), _short(row["tokens"]), size(row["bytes"]))
        for row in found["cost"]
    ]
    yield from table(("cost", "time", "FLOPs", "tokens", "size"), costs)
    if found["picture"]:
        yield f"curves: {found['picture']}"


def _listed(names: Sequence[str]) -> str:
    from ayllu.lab.run import listed

    return listed([name.removeprefix("ayllu.") for name in names])


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
