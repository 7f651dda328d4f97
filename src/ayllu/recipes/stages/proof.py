"""What stages keep for the proof of a release: how a training may be taken again, and where its text is from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, Handle
from ayllu.recipes.stages.artifacts import Weights
from ayllu.release.proof.pipeline import Origins
from ayllu.release.proof.training import Training
from ayllu.train.stretch import FOLDER

if TYPE_CHECKING:
    from ayllu.data.corpus import Corpus
    from ayllu.train.loop import TrainResult

NOTE = "replay"
"""What a record calls how the last steps of its training can be taken again."""


def kept_in(ctx: Context) -> Path:
    """Where a training keeps its last steps: beside the weights that it makes."""
    return ctx.folder / FOLDER


def note_stretch(ctx: Context, result: TrainResult, told: Mapping[str, Any] | None) -> None:
    """Keep in the record how the last steps can be taken again, or why not; `told` is the objective, where it is known.

    It names the machine, and so has no place among the artifact's files.
    """
    from ayllu.train.machine import arithmetic

    reason = result.stretch or (None if told else "its method does not say how a step of it can be taken again")
    ctx.note(NOTE, {"reason": reason} if reason else {**(told or {}), "machine": arithmetic()})


def training(
    name: str,
    made: Handle[Weights],
    *,
    begins: Handle[Weights] | None = None,
    reference: Handle[Weights] | None = None,
    kept: float | None = None,
) -> Training:
    """A training for the proof of a release; `kept` says that the release follows from it, and by which share."""
    return Training(
        name=name,
        weights=made.value,
        told=made.artifact.record.get(NOTE) or {"reason": "it was trained before such steps were kept"},
        begins=begins.value if begins else None,
        reference=reference.value if reference else None,
        ends={} if kept is None else {"kept": kept},
    )


def origins(text: Handle[Corpus]) -> Origins:
    """Where the documents of a corpus came from."""
    return Origins(corpus=text.value.folder, sources=text.arguments["sources"], licence=text.arguments["licence"])
