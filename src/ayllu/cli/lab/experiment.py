"""`ayllu experiment`: questions as files, with what was predicted and what came."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ayllu.api import research
from ayllu.cli.lab.words import table
from ayllu.cli.options import Home, Json, print_json, print_lines

Folder = Annotated[Path, Parameter(help="Where the files are.")]
EXPERIMENTS = Path("experiments")

app = App(name="experiment")


@app.command
def new(name: str, /, *, folder: Folder = EXPERIMENTS) -> None:
    """Write the file of a new experiment, to be filled in before it runs.

    Parameters
    ----------
    name
        In a few words, such as small_batch; the number comes by itself.
    """
    from ayllu.recipes.sweeping import experiment

    print_lines([str(experiment.new(name, folder))])


@app.command
def run(name: str, /, *, folder: Folder = EXPERIMENTS, home: Home = None, json: Json = False) -> None:
    """Train both arms with every seed, from where a killed run stopped, and write the result into the file.

    Parameters
    ----------
    name
        The file, its number, or its name.
    """
    record = research.experiment(name, folder=folder, home=home)
    if json:
        print_json(record)
        return
    result = record["result"]
    print_lines(
        [
            record["question"],
            *(f"{arm}: {' '.join(f'{v:.4f}' for v in values)}" for arm, values in result["bits_per_byte"].items()),
            f"difference {result['difference']:+.4f} (95 %: {result['low']:+.4f} to {result['high']:+.4f}), predicted "
            f"below {record['prediction']['below']:+.4f}: {result['verdict']}",
        ]
    )


@app.command
def report(*, folder: Folder = EXPERIMENTS, json: Json = False) -> None:
    """List the experiments of a folder: question, prediction, and what came."""
    from ayllu.recipes.sweeping import experiment

    rows = experiment.report(folder)
    if json:
        print_json({"experiments": rows})
        return
    cells = [
        (
            row["name"],
            "-" if row["below"] is None else f"{row['below']:+.3f}",
            "-" if row["difference"] is None else f"{row['difference']:+.4f}",
            "-" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}",
            row["verdict"] if row["state"] == "finished" else row["state"],
            row["question"],
        )
        for row in rows
    ]
    head = ("experiment", "below", "came", "95 %", "verdict", "question")
    print_lines(
        table(head, cells, fit=5) if rows else [f"there is no experiment in {folder}; `ayllu experiment new NAME`"]
    )
