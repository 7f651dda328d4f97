"""A year on one sheet: utilisation, goodput, queue, failures and power, as a PNG and as a self-contained page."""

from __future__ import annotations

import html
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ayllu.fleet.simulate.cluster.accounts import ClusterOutcome

INK, SOFT, GRID = "#1f2933", "#616e7c", "#e4e7eb"
BLUE, GREEN, AMBER, RED, VIOLET = "#1d6fa5", "#2f855a", "#b7791f", "#c53030", "#6b46c1"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve: its mean of each day, and between which hours it moved."""

    name: str
    colour: str
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    band: bool = True


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart of the sheet. Values are in `unit`."""

    title: str
    unit: str
    lines: tuple[Line, ...]

    @property
    def top(self) -> float:
        """The upper end of the axis: a round number above every value that is drawn."""
        most = max(float(np.max(line.high if line.band else line.mean)) for line in self.lines)
        if self.unit == "%":
            return 100.0
        step = 10 ** math.floor(math.log10(max(most, 1e-9)))
        return next(factor * step for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if factor * step >= most)


def _by_day(hours: np.ndarray) -> np.ndarray:
    days = max(len(hours) // 24, 1)
    return hours[: days * 24].reshape(days, -1)


def _line(name: str, colour: str, hours: np.ndarray, *, band: bool = True) -> Line:
    table = _by_day(hours)
    return Line(
        name=name, colour=colour, mean=table.mean(axis=1), low=table.min(axis=1), high=table.max(axis=1), band=band
    )


def panels(year: ClusterOutcome) -> list[Panel]:
    """The charts of the sheet, top to bottom."""
    hours = year.hours
    failures = _by_day(hours["failures"]).sum(axis=1)
    sums = Line(name="failures", colour=RED, mean=failures, low=failures, high=failures, band=False)
    queues = [name.removeprefix("busy_") for name in hours if name.startswith("busy_")]
    colours = (VIOLET, AMBER, GREEN, BLUE)
    return [
        Panel(
            title="Utilisation and goodput",
            unit="%",
            lines=(
                _line("utilisation", BLUE, 100 * hours["utilisation"]),
                _line("goodput", GREEN, 100 * hours["goodput"], band=False),
            ),
        ),
        Panel(
            title="Who computes",
            unit="%",
            lines=tuple(
                _line(name, colour, 100 * hours[f"busy_{name}"], band=False)
                for name, colour in zip(queues, colours, strict=False)
            ),
        ),
        Panel(title="Jobs that wait", unit="jobs", lines=(_line("waiting", AMBER, hours["waiting"]),)),
        Panel(title="Failures", unit="a day", lines=(sums,)),
        Panel(title="Power", unit="MW", lines=(_line("power at the meter", VIOLET, hours["power_mw"]),)),
    ]


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def draw_png(year: ClusterOutcome, title: str, path: Path) -> None:
    """Write the sheet as a PNG."""
    import io

    from matplotlib.figure import Figure

    sheet = panels(year)
    figure = Figure(figsize=(11, 2.05 * len(sheet) + 0.7), layout="constrained", facecolor="white")
    axes = figure.subplots(len(sheet), 1, sharex=True)
    for axis, panel in zip(axes, sheet, strict=True):
        days = np.arange(len(panel.lines[0].mean))
        for line in panel.lines:
            if line.band:
                axis.fill_between(days, line.low, line.high, color=line.colour, alpha=0.15, linewidth=0)
            axis.plot(days, line.mean, color=line.colour, linewidth=1.6, label=line.name)
        axis.set_ylim(0, panel.top * 1.02)
        axis.set_title(f"{panel.title} ({panel.unit})", loc="left", fontsize=10.5, color=INK, fontweight="bold")
        axis.grid(axis="y", color=GRID)
        axis.tick_params(colors=SOFT, labelsize=9, length=0)
        axis.set_xlim(0, max(len(days) - 1, 1))
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
        axis.spines["bottom"].set_color(GRID)
        if len(panel.lines) > 1:
            axis.legend(
                loc="lower right", ncols=len(panel.lines), fontsize=9, frameon=True, edgecolor=GRID, labelcolor=INK
            )
    axes[-1].set_xlabel("day", color=SOFT, fontsize=9)
    figure.suptitle(title + "\nlines: mean of each day; shade: its lowest and highest hour", fontsize=12, color=INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    _write(path, buffer.getvalue())


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 200, 64, 16, 10, 26


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _svg(panel: Panel) -> str:
    """One chart as inline SVG; every day can be pointed at."""
    count = len(panel.lines[0].mean)
    x = LEFT + np.arange(count) * (WIDTH - LEFT - RIGHT) / max(count - 1, 1)

    def y(values: np.ndarray | float) -> np.ndarray:
        return HEIGHT - BOTTOM - np.asarray(values, dtype=float) / panel.top * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(panel.title)}">']
    for part in (0, 0.25, 0.5, 0.75, 1):
        at = float(y(panel.top * part))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_number(panel.top * part)}</text>')
    for day in range(0, count, max(count // 12, 1)):
        parts.append(f'<text x="{x[day]:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{day}</text>')
    for line in panel.lines:
        if line.band:
            outline = _points(np.concatenate([x, x[::-1]]), np.concatenate([y(line.high), y(line.low)[::-1]]))
            parts.append(f'<polygon points="{outline}" fill="{line.colour}" opacity="0.15"/>')
        points = _points(x, y(line.mean))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="1.6"/>')
    step, height = (WIDTH - LEFT - RIGHT) / max(count - 1, 1), HEIGHT - TOP - BOTTOM
    for day in range(count):
        words = ", ".join(f"{line.name} {line.mean[day]:,.4g} {panel.unit}" for line in panel.lines)
        parts.append(
            f'<rect class="day" x="{x[day] - step / 2:.1f}" y="{TOP}" width="{step:.2f}" height="{height}">'
            f"<title>day {day}: {html.escape(words)}</title></rect>"
        )
    parts.append("</svg>")
    return "\n".join(parts)


STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; background: #fff; max-width: 1000px; margin: 2rem auto;
  padding: 0 1rem }}
h1 {{ font-size: 1.4rem }} h2 {{ font-size: 1rem; margin: 1.4rem 0 .2rem }} p, text, footer {{ color: {SOFT} }}
svg {{ width: 100%; height: auto; display: block }} text {{ font: 11px system-ui, sans-serif; fill: {SOFT} }}
.grid {{ stroke: {GRID} }} .day {{ fill: transparent }} .day:hover {{ fill: {INK}; opacity: .08 }}
dl {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: .4rem 1.2rem }}
dt {{ color: {SOFT}; font-size: .8rem }} dd {{ margin: 0; font-weight: 600; font-variant-numeric: tabular-nums }}
.key {{ display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 1em }}
"""


def draw_page(year: ClusterOutcome, title: str, figures: dict[str, float], path: Path) -> None:
    """Write the sheet as one HTML file without scripts or outside requests."""
    charts = []
    for panel in panels(year):
        keys = "".join(
            f'<span class="key" style="background:{line.colour}"></span>{html.escape(line.name)}'
            for line in panel.lines
        )
        charts.append(f"<h2>{html.escape(panel.title)} ({html.escape(panel.unit)}){keys}</h2>\n{_svg(panel)}")
    values = "".join(
        f"<div><dt>{html.escape(name.replace('_', ' '))}</dt><dd>{value:,.4g}</dd></div>"
        for name, value in figures.items()
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n"
        "<p>Lines are the mean of each day; the shade reaches from its lowest to its highest hour.</p>\n"
        f"<dl>{values}</dl>\n" + "\n".join(charts) + "\n</body>\n</html>\n"
    )
    _write(path, page.encode())
