"""`ayllu export-runs`: the same runs in the tools of others."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ayllu.cli.lab.shelf import meant, open_store
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.shelf.index import entries

Tool = Literal["tensorboard", "mlflow", "wandb"]


def export_runs(
    *names: str,
    to: Tool,
    out: Path | None = None,
    server: str | None = None,
    project: str = "ayllu",
    home: Home = None,
    json: Json = False,
) -> None:
    """Hand trainings over to TensorBoard, MLflow or W&B: settings, every step, what came, and the time of each.

    Parameters
    ----------
    names
        Names, beginnings of keys, tags or folders; of a release or a run the trainings behind it are taken.
    to
        tensorboard: event files below --out; mlflow: sent to --server; wandb: W&B's offline format below --out.
    out
        Folder for the files.
    server
        Address of an MLflow tracking server, such as http://127.0.0.1:5000.
    project
        What MLflow calls an experiment and W&B a project.
    """
    if not names:
        raise UserError("nothing is named; give the names that `ayllu list` shows")
    if (to == "mlflow") != (server is not None) or (to == "mlflow") == (out is not None):
        raise UserError("--to mlflow needs --server and no --out; tensorboard and wandb need --out and no --server")
    from ayllu.lab.handover import mlflow, tensorboard, wandb
    from ayllu.lab.handover.runs import trainings

    store = open_store(home)
    rows = entries(store)
    runs = {run.key: run for name in names for run in trainings(store, meant(store, name, rows), rows)}
    chosen = list(runs.values())
    if server is not None:
        places = mlflow.send(chosen, server, project)
    elif out is not None:
        places = wandb.write(chosen, out, project) if to == "wandb" else tensorboard.write(chosen, out)
    found = [
        {"name": run.name, "key": run.key, "steps": len(run.points), "place": place}
        for run, place in zip(chosen, places, strict=True)
    ]
    if json:
        print_json({"to": to, "runs": found})
        return
    print_lines(f"{row['name']}: {row['steps']:,} steps: {row['place']}" for row in found)
