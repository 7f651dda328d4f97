"""Keeping a stretch: the whole state before the last steps of a training, their batches, and the losses that came."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ayllu.lab.store import write_atomically
from ayllu.train.stretch.batches import to_parts

STEPS = 3
"""Steps of a stretch: to take them again must not take long."""
FACTS, CHECKPOINT = "stretch.json", "checkpoint.safetensors"
LARGEST = 2_000_000_000
"""Numbers of a state above which none is kept: it would be three times as large as the weights."""


def batch_file(step: int) -> str:
    """The file of the batch of `step`, counted from 1."""
    return f"batch-{step:09d}.safetensors"


class Keeper:
    """Keeps the last `STEPS` steps of a run in a folder; what it writes depends on the run's bits and nothing else.

    A run that is killed within the stretch, and goes on from a checkpoint, takes its steps again or finds them kept.
    """

    def __init__(self, folder: Path, *, steps: int, batch: int, config: Mapping[str, Any]) -> None:
        """Of a run of so many steps of `batch` samples; `config` is all that it was configured with, to be written."""
        self._folder, self._steps, self._batch, self._config = folder, steps, batch, config
        self._first = max(steps - STEPS, 0)
        self._reason: str | None = None

    def before(self, step: int, sample: int, tensors: Callable[[], Mapping[str, Tensor]], batch: Any) -> None:
        """Before step number `step` (from 0) on `batch`: keep the state where the stretch begins, and the batch."""
        if self._reason or step < self._first:
            return
        if step == self._first:
            self._begin(sample, tensors())
        try:
            told, values = to_parts(batch)
        except TypeError as error:
            self._reason = str(error)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / batch_file(step + 1)
        save_file(values, path)
        write_atomically(path.with_suffix(".json"), json.dumps({"sample": sample, "batch": told}))

    def _begin(self, sample: int, tensors: Mapping[str, Tensor]) -> None:
        if sum(tensor.numel() for tensor in tensors.values()) > LARGEST:
            self._reason = f"a state of more than {LARGEST:,} numbers is not kept"
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        save_file({name: value.detach().cpu().clone() for name, value in tensors.items()}, self._folder / CHECKPOINT)

    def finish(self, losses: list[float], place: Path) -> str | None:
        """Move what was kept to `place`, with the losses of the run's last steps; why not, where there is nothing."""
        steps = range(self._first + 1, self._steps + 1)
        told = [(self._folder / batch_file(step)).with_suffix(".json") for step in steps]
        reason = self._reason or self._gap(told, losses)
        if reason:
            return reason
        facts = {
            "config": dict(self._config),
            "first": self._first,
            "losses": losses[self._first :],
            "batches": [json.loads(path.read_text()) for path in told],
        }
        for path in told:
            path.unlink()
        (self._folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self._folder, place)
        return None

    def _gap(self, told: list[Path], losses: list[float]) -> str | None:
        """Why the steps that were kept are no unbroken stretch."""
        if len(losses) != self._steps or not all(map(math.isfinite, losses[self._first :])):
            return "a step of the stretch was passed over"
        if not told or not (self._folder / CHECKPOINT).is_file() or not all(path.is_file() for path in told):
            return "the run went on from a state within the stretch that was not kept"
        samples = [json.loads(path.read_text())["sample"] for path in told]
        apart = [second - first for first, second in itertools.pairwise(samples)]
        if any(step != self._batch for step in apart):
            return "the data of the stretch was passed over in part"
        return None
