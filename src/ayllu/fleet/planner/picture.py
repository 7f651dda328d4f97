"""Pictures of a plan: time against memory with the Pareto frontier, where the time goes, and what a shorter run
costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ayllu.fleet.planner.plan import Choice, Plan
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, GRID, FAINT = "#1f2933", "#616e7c", "#e4e7eb", "#cbd2d9"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": SOFT,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "svg.hashsalt": "ayllu",
}
STATES = {"replicated": "replicated", "optimizer": "sharded by step", "full": "sharded by micro-batch"}
"""How often a layout gathers its parameters, in words."""
SHOWN_SLOWER = 2.5
"""Layouts slower than the best by more than this are not drawn."""
UNITS = ((1.0, "days"), (1 / 24, "hours"), (1 / 1440, "minutes"))
TITLE_PAD = 58
"""Points between a title and its axes: room for a legend of four lines."""
COLOURS = ("#1d6fa5", "#2f855a", "#b7791f", "#c53030", "#6b46c1", "#0d9488", "#9f580a", "#718096")
PARTS = {
    "matrix products": ("products",),
    "attention": ("attention",),
    "elementwise": ("elementwise",),
    "recomputed": ("recompute",),
    "tensor, context, expert parallel": ("tensor_parallel", "context_parallel", "expert_parallel"),
    "pipeline": ("pipeline_transfer", "bubble", "imbalance"),
    "data parallel": ("data_parallel",),
    "everything else": ("overhead", "optimizer", "straggling"),
}
"""What the bars show, from the parts of a `Breakdown`."""


def draw_plan(found: Plan, scaling: Sequence[Plan], path: Path) -> tuple[Path, Path]:
    """Draw `found` and the plans on smaller shares of its pool, as `draw_plans` does."""
    return draw_plans([(found, scaling)], path)


def draw_plans(plans: Sequence[tuple[Plan, Sequence[Plan]]], path: Path) -> tuple[Path, Path]:
    """Draw the plan on each part of a fleet and those on smaller shares of it, a row for each part; write PNG and SVG
    beside each other, and return both.

    `path` may end in .png or .svg. Raises UserError when its folder cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        rows = len(plans)
        figure, grid = pyplot.subplots(
            rows, 3, figsize=(15, 5.6 * rows), width_ratios=(1.1, 1.1, 1), squeeze=False, sharey=False
        )
        for (left, middle, right), (found, scaling) in zip(grid, plans, strict=True):
            _draw_frontier(left, found)
            _draw_breakdown(middle, found)
            _draw_scaling(right, scaling)
            if rows > 1:
                left.set_title(f"{_part(found)}: time against memory", pad=TITLE_PAD)
        job = plans[0][0].job
        figure.suptitle(
            f"{job.name} · {' + '.join(_part(found) for found, _ in plans)} · "
            f"{job.global_batch:,} sequences of {job.sequence:,} tokens a step",
            x=0.01,
            ha="left",
            fontsize=12,
            fontweight="bold",
        )
        for axes in grid.flat:
            # A legend wider than its axes would push the others apart.
            axes.get_legend().set_in_layout(False)
        # Room between two rows for the legends, which stand above their axes.
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.03 / rows), w_pad=2.5, h_pad=3.0)
        targets = path.with_suffix(".png"), path.with_suffix(".svg")
        try:
            for target in targets:
                temporary = target.with_name(f".{target.name}")
                figure.savefig(
                    temporary,
                    format=target.suffix[1:],
                    dpi=140,
                    metadata={"Date": None} if target.suffix == ".svg" else None,
                )
                temporary.replace(target)
        except OSError as error:
            raise UserError(f"{path}: the picture cannot be written there ({error.strerror})") from error
        finally:
            pyplot.close(figure)
    return targets


def _part(found: Plan) -> str:
    return f"{found.pool.count:,} {found.pool.accelerator.id}"


def label(choice: Choice) -> str:
    """The degrees of a layout that differ from 1, in a line."""
    layout = choice.layout
    degrees = {"tp": layout.tp, "cp": layout.cp, "pp": layout.pp, "v": layout.virtual}
    degrees |= {"ep": layout.ep, "dp": layout.data_parallel}
    text = " ".join(f"{name}{value}" for name, value in degrees.items() if value > 1)
    extra = f" mb{layout.micro_batch}" + ("" if layout.recompute == "none" else f" {layout.recompute} recompute")
    return (text or "one device") + extra


def _draw_frontier(axes: Axes, found: Plan) -> None:
    seconds, share = found.cloud
    near = seconds < SHOWN_SLOWER * found.best.step_s
    axes.scatter(
        100 * share[near],
        seconds[near],
        s=5,
        color=FAINT,
        linewidths=0,
        rasterized=True,
        label=f"{found.layouts_that_fit:,} layouts that fit",
    )
    frontier = [choice for choice in found.frontier if choice.step_s < SHOWN_SLOWER * found.best.step_s]
    x, y = [100 * c.memory_share for c in frontier], [c.step_s for c in frontier]
    axes.plot(x, y, "o-", color=COLOURS[0], markersize=4, linewidth=1.2, label="no other is faster and smaller")
    best = found.best
    axes.plot(
        100 * best.memory_share,
        best.step_s,
        "o",
        color=COLOURS[3],
        markersize=6,
        label=f"{label(best)}: {best.step_s:.3g} s, MFU {100 * best.mfu:.0f} %",
    )
    axes.set(xlabel="memory of one accelerator, %", ylabel="seconds per step", xlim=(0, 100))
    axes.set_title("Time against memory", pad=TITLE_PAD)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(
        frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), fontsize=8, borderaxespad=0.2, labelspacing=0.25
    )


def _draw_breakdown(axes: Axes, found: Plan) -> None:
    choices = found.choices[::-1]
    start = np.zeros(len(choices))
    for (name, parts), colour in zip(PARTS.items(), COLOURS, strict=True):
        width = np.array([sum(choice.breakdown_s[part] for part in parts) for choice in choices])
        axes.barh(range(len(choices)), width, left=start, color=colour, height=0.55, label=name)
        start += width
    for row, choice in enumerate(choices):
        low, high = choice.interval_s
        axes.plot([low, high], [row - 0.36] * 2, color=INK, linewidth=1.2, solid_capstyle="butt")
        axes.text(0, row + 0.33, f"{label(choice)}, states {STATES[choice.sharding]}", fontsize=8, va="bottom")
    axes.set(xlabel="seconds per step (line: interval)", yticks=[])
    axes.set_ylim(min(0, len(choices) - 5) - 0.6, len(choices) - 0.3)
    axes.set_title("Where the time goes", pad=TITLE_PAD)
    axes.legend(
        frameon=False,
        ncols=2,
        fontsize=8,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        borderaxespad=0.2,
        labelspacing=0.25,
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw_scaling(axes: Axes, scaling: Sequence[Plan]) -> None:
    from matplotlib.ticker import LogLocator

    counts = [each.best.devices for each in scaling]
    # Days, hours or minutes: what the longest run is told in.
    size, unit = next((pair for pair in UNITS if max(each.best.days for each in scaling) >= pair[0]), UNITS[-1])
    times = [each.best.days / size for each in scaling]
    least = min(count * took for count, took in zip(counts, times, strict=True))
    axes.plot(
        counts,
        [least / count for count in counts],
        "--",
        color=SOFT,
        linewidth=1,
        label="as efficient as the best of these",
    )
    axes.plot(counts, times, "o-", color=COLOURS[0], markersize=4, label="fastest layout")
    flat = max(times) < 2 * min(times)
    for number, (each, count, took) in enumerate(zip(scaling, counts, times, strict=True)):
        energy = each.best.energy_mwh
        note = told_days(each.best.days) + (f" · {told_energy(energy)}" if energy is not None else "")
        place = (6, -12) if flat and (len(scaling) - number) % 2 == 0 else (6, 2)
        axes.annotate(note, (count, took), xytext=place, textcoords="offset points", fontsize=7.5, color=SOFT)
    axes.set(xscale="log", yscale="log", xlabel="accelerators", ylabel=f"{unit} of the whole run")
    axes.set_title("What a shorter run costs", pad=TITLE_PAD)
    axes.set_xticks(counts[:: 1 + len(counts) // 4])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    wide = max(times) > 100 * min(times)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.set_xlim(min(counts) / 1.6, max(counts) * (max(counts) / min(counts)) ** 0.45 * 1.6)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(
        frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), fontsize=8, borderaxespad=0.2, labelspacing=0.25
    )


def told_days(days: float) -> str:
    """A time in the unit that reads best."""
    for size, unit in ((1.0, "d"), (1 / 24, "h"), (1 / 1440, "min")):
        if days >= size:
            return f"{days / size:,.3g} {unit}" if days / size < 1000 else f"{days / size:,.0f} {unit}"
    return f"{days * 86_400:,.3g} s"


def told_energy(mwh: float) -> str:
    """An energy in the unit that reads best."""
    for size, unit in ((1e3, "GWh"), (1.0, "MWh"), (1e-3, "kWh")):
        if mwh >= size:
            return f"{mwh / size:,.3g} {unit}" if mwh / size < 1000 else f"{mwh / size:,.0f} {unit}"
    return f"{mwh * 1e6:,.3g} Wh"
