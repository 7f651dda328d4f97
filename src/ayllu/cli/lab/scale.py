"""`ayllu scale`: a ladder of sizes, whose largest is predicted before it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cyclopts import App

from ayllu.api import research
from ayllu.cli.lab.words import table
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.cli.run import SEVERAL, command_for
from ayllu.recipes.scaling.scale import LADDERS

app = App(name="scale", default_parameter=SEVERAL)


def scale(ladder: Callable[..., Any], /, *, home: Home = None, json: Json = False, **options: Any) -> None:
    """Climb a ladder, from where a killed run stopped, and print its law and what came of the forecast."""
    report = research.scale(ladder.__name__, home=home, **options)
    if json:
        print_json(report)
        return
    rows = [
        (
            str(point["rung"]),
            f"{point['parameters'] / 1e6:.3g}M",
            f"{point['tokens'] / 1e6:.3g}M",
            f"{point['flops']:.2e}",
            f"{point['loss']:.4f}",
        )
        for point in report["points"]
    ]
    print_lines(table(("rung", "parameters", "tokens", "FLOP", report["metric"]), rows))
    law = report["fit"]
    print_lines(
        [
            f"law of the rungs below: {law['floor']:.3f} + {law['a']:.3g}/N^{law['alpha']:.3f} + "
            f"{law['b']:.3g}/D^{law['beta']:.3f}, best N ~ C^{law['size_exponent']:.2f}, "
            f"residual {law['residual_pct']:.2f} %",
        ]
    )
    forecast, came = report["predicted"]["losses"], report["measured"]["losses"]
    for expected, found in zip(forecast, came, strict=True):
        print_lines(
            [
                f"rung {report['measured']['rung']} at {found['tokens'] / 1e6:.3g}M tokens: predicted "
                f"{expected['loss']:.4f} ({expected['low']:.4f} to {expected['high']:.4f}), measured "
                f"{found['loss']:.4f}: {found['error_pct']:+.2f} %, {'inside' if found['inside'] else 'outside'}"
            ]
        )
    for name, task in report.get("tasks", {}).items():
        expected = task["predicted"]
        print_lines(
            [
                f"{name}, bits per byte of the right answer: predicted {expected['value']:.4f} "
                f"({expected['low']:.4f} to {expected['high']:.4f}), measured {task['measured']:.4f}: "
                f"{task['error_pct']:+.2f} %, {'inside' if task['inside'] else 'outside'}"
            ]
        )
    print_lines([f"picture: {report['folder']}/scaling.png"])


for _name, _ladder in LADDERS.items():
    app.command(command_for(scale, _ladder), name=_name)
