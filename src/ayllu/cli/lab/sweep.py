"""`ayllu sweep`: a recipe with many options, one training after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import App, Parameter

from ayllu.api import research
from ayllu.cli.lab.words import table
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.cli.run import SEVERAL, command_for
from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.recipes.registry import RECIPES
from ayllu.recipes.sweeping.search import Method
from ayllu.recipes.sweeping.workers import Scheduler

Vary = Annotated[
    tuple[str, ...],
    Parameter(name="--set", help="What to vary: lr=0.005,0.01 (values), lr=1e-3..1e-1 or width=64..256:64 (ranges)."),
]
Search = Annotated[
    Method,
    Parameter(help="grid: every combination; random: drawn; halving: drawn, and the best third gets three times more."),
]
Trials = Annotated[int, Parameter(help="How many are drawn; a grid has as many as it has combinations.")]
Seeds = Annotated[int, Parameter(help="Further seeds that the best is trained with.")]
Heldout = Annotated[int, Parameter(help="Held-out documents that each trial is measured on.")]

Count = Annotated[int, Parameter(help="So many processes train trials side by side first; 0: one after the other.")]
On = Annotated[Scheduler, Parameter(help="Who starts the workers; all of them must see the home.")]
Queue = Annotated[str | None, Parameter(name=("--queue", "--partition"), help="Partition, on Slurm.")]
PartOf = Annotated[
    str | None,
    Parameter(help="Train only some trials, as 2/8 every eighth from the second on: what one of the workers does."),
]

app = App(name="sweep", default_parameter=SEVERAL)


def sweep(
    recipe: Callable[..., Any],
    /,
    *,
    vary: Vary,
    search: Search = "grid",
    trials: Trials = 20,
    seeds: Seeds = 3,
    heldout: Heldout = 400,
    workers: Count = 0,
    on: On = "local",
    queue: Queue = None,
    part: PartOf = None,
    home: Home = None,
    json: Json = False,
    **options: Any,
) -> None:
    """Try options of a recipe, from where a killed sweep stopped, and print what each trial came to."""
    asked: dict[str, Any] = {"vary": vary, "search": search, "trials": trials, "seeds": seeds, "heldout": heldout}
    asked |= {"workers": workers, "on": on, "queue": queue, "part": part}
    record = research.sweep(recipe, home=home, **asked, **options)
    if json:
        print_json(record)
        return
    if part is not None:
        print_lines([f"part {part}: {record['trials'] - record['failed']} of its {record['trials']} trials are made"])
        return
    names = list(record["axes"])
    rows = sorted(record["trials"], key=lambda row: (row["share"] != 1.0, row["value"] is None, row["value"] or 0.0))
    cells = [
        (
            *(_said(row["values"][name]) for name in names),
            str(row["seed"]),
            f"{row['share']:.2f}",
            "-" if row["value"] is None else f"{row['value']:.4f}",
            "-" if row["seconds"] is None else f"{row['seconds']:.0f}",
            row["error"] or row["state"],
        )
        for row in rows
    ]
    head = (*names, "seed", "of budget", record["metric"].replace("_", " "), "seconds", "state")
    print_lines(table(head, cells, fit=len(head) - 1))
    best = record["best"]
    told = ", ".join(f"{name} {_said(value)}" for name, value in best["values"].items())
    print_lines([f"best: {told}: {_expected(best)}"])
    print_lines([f"record and picture: sweeps/{record['id']}.json and .png in the home"])


def _expected(best: dict[str, Any]) -> str:
    """What its settings come to with seeds that they were not chosen by."""
    count = len(best["by_seed"])
    chosen = f"{best['chosen_by']:.4f}, by which it was chosen"
    if not count:
        return f"{chosen}; --seeds says what other seeds come to"
    sure = f" (95 %: {best['low']:.4f} to {best['high']:.4f})" if best["low"] is not None else ""
    return f"{best['mean']:.4f}{sure} with {count} other seed{'s' * (count > 1)}; {chosen}"


def _said(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _add_recipes() -> None:
    """A command for each recipe; one that cannot be loaded stops no other."""
    for name in RECIPES.names():
        try:
            app.command(command_for(sweep, RECIPES.find(name)), name=name)
        except UserError as error:
            say(f"ayllu: {error}")


_add_recipes()
