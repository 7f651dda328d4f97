"""A profile as a picture: for each row the difficulty solved half the time, with its interval, several subjects over
each other. Written as PNG, or as a page (HTML) with the drawing and its numbers inside, which needs nothing else."""

from __future__ import annotations

import html
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.evals.profile.kept import KeptProfile
from ayllu.evals.profile.rows import FURTHER, ROWS, TEN
from ayllu.evals.profile.table import MODES, told_interval, told_threshold
from ayllu.lab.error import UserError
from ayllu.lab.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, GRID, FAINT = "#1f2933", "#616e7c", "#e4e7eb", "#b8c0c8"
COLOURS = ("#1d6fa5", "#c05621", "#2f855a", "#6b46c1", "#b7791f", "#c53030", "#0d9488", "#718096")
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": SOFT,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "svg.hashsalt": "ayllu",
    "svg.fonttype": "none",
}
ACROSS = 4
"""Names of subjects in a line."""
MOST = len(COLOURS)
"""Subjects in one picture at most: one a colour."""
SPREAD = 0.72
"""The part of a row's height that its subjects share."""
LONGEST = 40
"""Letters of a name that are shown."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ width: 100%; height: auto }} table {{ border-collapse: collapse; width: 100%; font-size: .9rem }}
th, td {{ text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #e4e7eb }} .none {{ color: #616e7c }}
</style></head><body><h1>{title}</h1><p>{note}</p>
{drawing}
<table><thead><tr><th scope="col">Row</th>{heads}</tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""
NOTE = (
    "The difficulty that is solved half the time, from 1 (trivial) to 30 (beyond any model), with 95 % intervals. "
    "Mode: {mode}. An arrow: beyond what was asked."
)


def draw_profiles(profiles: Sequence[KeptProfile], path: Path, *, mode: str | None = None) -> Path:
    """Draw profiles in one mode (None: the first that all have) into `path`, which ends in .png or .html.

    Raises UserError for another ending, more subjects than there are colours, no mode in common, and a folder that
    cannot be written.
    """
    if path.suffix.lower() not in (".png", ".html"):
        raise UserError(f"{path} ends neither in .png nor in .html: give a name that does")
    if not 1 <= len(profiles) <= MOST:
        raise UserError(f"a picture shows from 1 to {MOST} profiles, not {len(profiles)}")
    chosen = _mode(profiles, mode)
    page = path.suffix.lower() == ".html"
    drawing = _draw(profiles, chosen, "svg" if page else "png")
    content = _page(profiles, chosen, drawing.decode()).encode() if page else drawing
    try:
        draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): choose another place") from error
    return path


def _mode(profiles: Sequence[KeptProfile], wanted: str | None) -> str:
    common = [mode for mode in MODES if all(mode in kept.profile["by_mode"] for kept in profiles)]
    if not common or (wanted is not None and wanted not in common):
        asked = f"in the mode {wanted}" if wanted else "in one mode"
        raise UserError(f"the profiles were not all measured {asked}: measure them again, or draw them apart")
    return wanted or common[0]


def _rows(kept: KeptProfile, mode: str) -> dict[str, Mapping[str, Any]]:
    both = kept.profile["by_mode"][mode]
    return {row["row"]: row for row in (*both["profile"], *both["further"])}


def _draw(profiles: Sequence[KeptProfile], mode: str, form: str) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(9.5, 2.2 + 0.5 * len(ROWS)), layout="constrained")
        # A wider step between the ten rows and those beside them.
        places = {name: -number - 0.6 * (number >= len(TEN)) for number, name in enumerate(ROWS)}
        _frame(axes, places)
        for number, kept in enumerate(profiles):
            offset = SPREAD * ((len(profiles) - 1) / 2 - number) / len(profiles)
            _subject(axes, kept, mode, {name: place + offset for name, place in places.items()}, COLOURS[number])
        _unmeasured(axes, profiles, mode, places)
        pad = 16 + 18 * math.ceil(len(profiles) / ACROSS)  # above the lines of names
        axes.set_title(f"Solved half the time, by difficulty: {MODES[mode]}", loc="left", pad=pad, fontweight="bold")
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=ACROSS, frameon=False, handlelength=1, borderaxespad=0.2
        )
        data = io.BytesIO()
        figure.savefig(data, format=form, dpi=160, metadata={"Date": None} if form == "svg" else {})
        pyplot.close(figure)
    return data.getvalue()


def _frame(axes: Axes, places: Mapping[str, float]) -> None:
    axes.set_yticks(list(places.values()), [ROWS[name].title for name in places])
    axes.set_ylim(min(places.values()) - 0.6, 0.6)
    axes.set_xlim(0, 31.5)
    axes.set_xticks([1, 5, 10, 15, 20, 25, 30])
    axes.set_xlabel("level, from trivial (1) to beyond any model (30); the line is the 95 % interval")
    axes.tick_params(length=0)
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.axhline((places[TEN[-1].name] + places[FURTHER[0].name]) / 2, color=FAINT, linewidth=0.8)


def _subject(axes: Axes, kept: KeptProfile, mode: str, places: Mapping[str, float], colour: str) -> None:
    label = visible(kept.name)[:LONGEST]
    for name, row in _rows(kept, mode).items():
        if not row["measured"] or name not in places:
            continue
        y, first, last = places[name], row["scale"][0], row["scale"][1]
        axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2.2, alpha=0.45, solid_capstyle="round")
        marker = {"below": "<", "above": ">"}.get(row["censored"], "o")
        x = {"below": first - 0.45, "above": last + 0.45}.get(row["censored"], row["d50"])
        axes.plot([x], [y], marker=marker, color=colour, markersize=7, linestyle="none")
    axes.plot([], [], marker="o", color=colour, linestyle="none", label=label)


def _unmeasured(axes: Axes, profiles: Sequence[KeptProfile], mode: str, places: Mapping[str, float]) -> None:
    rows = [_rows(kept, mode) for kept in profiles]
    for name, place in places.items():
        if not any(each.get(name, {}).get("measured") for each in rows):
            axes.text(0.6, place, "not measured", color=SOFT, style="italic", va="center", fontsize=9)


def _page(profiles: Sequence[KeptProfile], mode: str, drawing: str) -> str:
    names = [visible(kept.name)[:LONGEST] for kept in profiles]
    lines = []
    for name, row in ROWS.items():
        cells = "".join(_cell(_rows(kept, mode).get(name)) for kept in profiles)
        lines.append(f'<tr><th scope="row">{html.escape(row.title)}</th>{cells}</tr>')
    return PAGE.format(
        title=html.escape(f"Profile: {', '.join(names)}"),
        note=html.escape(NOTE.format(mode=MODES[mode])),
        drawing=drawing[drawing.index("<svg") :],
        heads="".join(f'<th scope="col">{html.escape(name)}</th>' for name in names),
        rows="\n".join(lines),
    )


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None or not row["measured"]:
        return '<td class="none">not measured</td>'
    return f"<td>{html.escape(told_threshold(row))} ({html.escape(told_interval(row))})</td>"
