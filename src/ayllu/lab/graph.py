"""Stages: functions whose calls describe work, to be done by `ayllu.lab.run.resolve`, once for each key."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.lab.key import source_digest, stable
from ayllu.lab.store import write_atomically


class Context:
    """What a running stage is given besides its inputs and arguments. Nothing of it can enter a key."""

    def __init__(
        self,
        *,
        folder: Path,
        scratch: Path,
        cache: Path,
        logs: Path | None = None,
        layout: Any = None,
        main: bool = True,
    ) -> None:
        self.folder = folder
        """Empty at the start; becomes the artifact."""
        self.scratch = scratch
        """Survives a killed process; gone when the stage has finished."""
        self.cache = cache
        """Downloads, shared by all stages and runs."""
        self.logs = logs
        """For what people watch while the stage runs; stays when it has finished, and is no part of the artifact."""
        self.layout = layout
        """How a distributed stage spreads its work; None leaves it on this device."""
        self.main = main
        """Whether this process makes the artifact and keeps the record; others only help it to compute."""
        self._journal = scratch / "record.json"
        self._kept: dict[str, dict[str, Any]] = {"record": {}, "predictions": {}}
        if self._journal.exists():
            self._kept = json.loads(self._journal.read_text())

    def note(self, name: str, value: Any) -> None:
        """Keep a measured value (JSON) in the record; the last one counts."""
        self._kept["record"][name] = value
        self._save()

    def predict(self, name: str, value: Any) -> None:
        """Keep what is expected before it is measured; the first one counts, also after a kill."""
        self._kept["predictions"].setdefault(name, value)
        self._save()

    @property
    def record(self) -> dict[str, Any]:
        return self._kept["record"]

    @property
    def predictions(self) -> dict[str, Any]:
        return self._kept["predictions"]

    def _save(self) -> None:
        if not self.main:
            return
        write_atomically(self._journal, json.dumps(self._kept))


@dataclass(frozen=True, eq=False)
class Handle:
    """A result that may not exist yet: a stage with its inputs and arguments."""

    stage: Stage
    inputs: dict[str, Handle]
    arguments: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Stage:
    """A function `work(ctx, inputs..., arguments...)` that writes `ctx.folder`, which `makes` then opens."""

    work: Callable[..., None]
    makes: Callable[[Path], Any]
    """Opens the finished folder for the stages that take it in."""
    rev: int
    distributed: bool = False
    """Whether all processes of a job do this stage together; the first one alone does the others."""

    @property
    def name(self) -> str:
        return self.work.__name__

    @property
    def source(self) -> str:
        """Digest of the code, kept in the record and compared with it later."""
        return source_digest(self.work)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Describe one call. Handles become inputs, everything else arguments, which must have a stable form."""
        bound = inspect.signature(self.work).bind(None, *args, **kwargs)
        bound.apply_defaults()
        given = dict(list(bound.arguments.items())[1:])
        inputs = {name: value for name, value in given.items() if isinstance(value, Handle)}
        arguments = {name: value for name, value in given.items() if name not in inputs}
        for name, value in arguments.items():
            stable(value, f"{self.name}: {name}")
        return Handle(self, inputs, arguments)


def stage(
    *, makes: Callable[[Path], Any] = Path, rev: int = 1, distributed: bool = False
) -> Callable[[Callable[..., None]], Stage]:
    """Turn a function into a stage. Raise `rev` when its behaviour changes: old results are then not taken for new."""

    def wrap(work: Callable[..., None]) -> Stage:
        return Stage(work, makes, rev, distributed)

    return wrap
