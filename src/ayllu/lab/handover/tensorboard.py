"""TensorBoard: a folder of event files for each run, with its settings for the HParams tab."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.handover.runs import Handed


def write(runs: Sequence[Handed], out: Path) -> list[str]:
    """Write `out/NAME-KEY` for each run: the folders. UserError where one is there, or the package is missing."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise UserError("this needs TensorBoard; run: pip install 'ayllu[tensorboard]'") from None
    folders = [out / f"{run.name.replace('/', '_')}-{run.key[:8]}" for run in runs]
    if there := [folder for folder in folders if folder.exists()]:
        raise UserError(f"{there[0]} is there already; remove it, or give another --out")
    for run, folder in zip(runs, folders, strict=True):
        # Under another name until it is whole: what a kill leaves is written anew by the same command.
        draft = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        writer = EventFileWriter(str(draft))

        def add(step: int, time: float, values: dict[str, float], writer: Any = writer) -> None:
            rows = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
            writer.add_event(Event(wall_time=time, step=step, summary=Summary(value=rows)))

        settings = {name: _setting(value) for name, value in run.settings.items()}
        hparams = summary_v2.hparams_pb(settings, trial_id=run.key, start_time_secs=run.started)
        writer.add_event(Event(wall_time=run.started, summary=Summary.FromString(hparams.SerializeToString())))
        for point in run.points:
            add(point.step, point.time, dict(point.values))
        add(0, run.ended, {f"final/{name}": value for name, value in run.figures.items()})
        writer.close()
        draft.rename(folder)
    return [str(folder) for folder in folders]


def _setting(value: Any) -> Any:
    """A setting as the HParams tab takes it."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, ensure_ascii=False)
