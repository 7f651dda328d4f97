"""Weights & Biases: a folder of its offline format for each run, which `wandb sync` uploads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.handover.runs import Handed


def write(runs: Sequence[Handed], out: Path, project: str) -> list[str]:
    """Write `out/wandb/offline-run-…` for each run: the folders. UserError where the package is missing."""
    try:
        import wandb
    except ImportError:
        raise UserError(
            "this needs the package of W&B, which no part of Ayllu brings; run: pip install wandb"
        ) from None
    out.mkdir(parents=True, exist_ok=True)
    folders = []
    for run in runs:
        # Nothing of this machine, its code or its consumption goes into the files.
        settings = wandb.Settings(
            mode="offline", root_dir=str(out), console="off", silent=True, disable_git=True, save_code=False,
            x_disable_meta=True, x_disable_stats=True,
        )  # fmt: skip
        began = wandb.init(
            project=project,
            id=run.key[:16],
            name=run.name,
            config=dict(run.settings),
            tags=[run.stage],
            settings=settings,
        )
        for point in run.points:
            # This name, of all that stand for times, is taken as it is given: without it each step has the time of now.
            began.log({**point.values, "_timestamp": point.time}, step=point.step)
        began.summary.update({f"final/{name}": value for name, value in run.figures.items()})
        folders.append(str(Path(began.dir).parent))
        began.finish()
    return folders
