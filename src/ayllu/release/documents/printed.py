"""The card on paper: a PDF with the scores and their intervals, the data mix, the release's own figures, and the card.

It is made of a release that verifies and is no part of it: what a PDF holds differs from one matplotlib to the next.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.visible import visible
from ayllu.release.gates import RECORDS, SCORES, SOURCES
from ayllu.release.verify import verify_release

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = (8.27, 11.69)
"""A4, in inches."""
BLUE, RED, GREY = "#1f6f8b", "#c8553d", "#9a9a9a"
COLUMNS, LINES = 122, 86
"""Characters of a line of the card's text, and lines of a page."""
MOST = 20
"""Bars of one picture; what is more is said in the card's tables."""


def print_card(folder: Path, out: Path, *, key: Path | None = None) -> int:
    """Write the card of the release in `folder` as the PDF `out`; the number of its pages.

    Raises UserError where the release does not verify, or `out` cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_pdf import PdfPages

    found = verify_release(folder, key)
    if found.problems:
        raise UserError(f"{folder} is not verified ({found.problems[0]}): only what verifies is printed")
    said = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in (RECORDS, SCORES, SOURCES)}
    draft = out.with_name(out.name + ".draft")
    # Text of others is text: a dollar in it is no formula.
    with rc_context({"text.parse_math": False, "font.size": 9}):
        sheets = [_pictures(found.title, said), *_figures(folder), *_text(folder)]
    try:
        with rc_context({"text.parse_math": False}), PdfPages(draft) as pages:
            for sheet in sheets:
                pages.savefig(sheet)
        draft.replace(out)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"{out} cannot be written ({error.strerror or error}): choose another place") from None
    return len(sheets)


def _sheet() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=PAPER)


def _pictures(title: str, said: Mapping[str, Any]) -> Figure:
    """The first page: name, what it is, and up to three pictures."""
    sheet = _sheet()
    sheet.text(0.08, 0.95, visible(title), fontsize=20, weight="bold", va="top")
    release, model = said[RECORDS]["release"], said[RECORDS]["model"]
    described = str((said[RECORDS].get("training") or {}).get("description") or "")
    lines = textwrap.wrap(visible(described, longest=600), 100)
    lines.append(f"{model['parameters']:,} parameters · {release['licence']} · {release['date']}")
    sheet.text(0.08, 0.915, "\n".join(lines), va="top", linespacing=1.4)
    pictures: list[tuple[Callable[[Axes, Any], None], list[Any]]] = [
        (_accuracies, list(_sets(said[SCORES]))),
        (_bits, sorted((said[SCORES].get("bits_per_byte") or {}).items())),
        (_mix, list(_sources(said[SOURCES]))),
    ]
    drawn = [(draw, rows) for draw, rows in pictures if rows]
    heights = [max(len(rows[:MOST]), 2) + 1.5 for _, rows in drawn]
    room, top = 0.80, 0.80
    scale = min(0.03, room / max(sum(heights), 1) * 0.9)
    for (draw, rows), height in zip(drawn, heights, strict=True):
        draw(sheet.add_axes((0.34, top - height * scale, 0.56, (height - 1.5) * scale)), rows[:MOST])
        top -= (height + 1.6) * scale
    return sheet


def _sets(scores: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, entry in (scores.get("sets") or {}).items():
        yield f"{name} ({entry['items']:,} items)", entry[entry["headline"]]


def _sources(sources: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    found = [(source["name"], source.get("bytes") or 0) for source in sources.get("corpus") or []]
    whole = sum(size for _, size in found)
    if whole:
        yield from ((name, size / whole) for name, size in sorted(found, key=lambda pair: -pair[1]))


def _rows(axes: Axes, names: Sequence[str], title: str) -> list[int]:
    """Names down the left side, the first on top; their heights."""
    places = list(range(len(names)))[::-1]
    axes.set_yticks(places, [visible(name, longest=40) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_title(title, loc="left", fontsize=10, weight="bold")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)
    return places


def _accuracies(axes: Axes, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    places = _rows(axes, [name for name, _ in rows], "Right answers, with 95 % intervals; the bar is chance")
    for place, (_, score) in zip(places, rows, strict=True):
        axes.plot([score["low"], score["high"]], [place, place], color=BLUE, linewidth=2)
        axes.plot(score["value"], place, "o", color=BLUE, markersize=5)
        axes.plot([score["chance"]] * 2, [place - 0.3, place + 0.3], color=RED, linewidth=1.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _bits(axes: Axes, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    places = _rows(axes, [f"{name} ({entry['documents']:,} documents)" for name, entry in rows],
                   "Held-out bits per byte, with 95 % intervals; less is better")  # fmt: skip
    for place, (_, score) in zip(places, rows, strict=True):
        axes.plot([score["low"], score["high"]], [place, place], color=BLUE, linewidth=2)
        axes.plot(score["value"], place, "o", color=BLUE, markersize=5)


def _mix(axes: Axes, rows: Sequence[tuple[str, float]]) -> None:
    places = _rows(axes, [name for name, _ in rows], "Bytes of the corpus by source")
    axes.barh(places, [share for _, share in rows], height=0.6, color=BLUE)
    for place, (_, share) in zip(places, rows, strict=True):
        axes.text(share + 0.01, place, f"{100 * share:.1f} %", va="center", fontsize=8, color="#444444")
    axes.set_xlim(0, 1.1)
    axes.set_xticks([])


def _figures(folder: Path) -> Iterator[Figure]:
    """The release's own figures, such as the loss of its training, two to a page."""
    from matplotlib.image import imread

    paths = sorted((folder / "figures").glob("*")) if (folder / "figures").is_dir() else []
    for at in range(0, len(paths), 2):
        sheet = _sheet()
        for number, path in enumerate(paths[at : at + 2]):
            try:
                picture = imread(path)
            except Exception:  # whatever a damaged picture makes of a reader of others
                raise UserError(f"{path.name} of the release is no picture that can be printed") from None
            axes = sheet.add_axes((0.08, 0.52 - 0.46 * number, 0.84, 0.40))
            axes.imshow(picture)
            axes.set_axis_off()
            axes.set_title(visible(path.stem.replace("_", " ")), loc="left", fontsize=10, weight="bold")
        yield sheet


def _text(folder: Path) -> Iterator[Figure]:
    """The card itself, as it is written."""
    card = re.sub(r"\A---\n.*?\n---\n", "", (folder / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    wrapped = (
        textwrap.wrap(visible(line, longest=4000), COLUMNS, subsequent_indent="  ") for line in card.splitlines()
    )
    lines = [part for parts in wrapped for part in parts or [""]]
    for at in range(0, len(lines), LINES):
        sheet = _sheet()
        text = "\n".join(lines[at : at + LINES])
        sheet.text(0.06, 0.96, text, va="top", family="monospace", fontsize=6.5, linespacing=1.3)
        yield sheet
