"""Steps of a training again: from the checkpoint of a proof, on its batches, to the losses that the training had.

`training/NAME/` of a proof is what `ayllu.train.stretch` kept; `weights/NAME/` holds models that were there before.
Where the last training ends in the release, so must the steps: the weights that come of them are compared with it.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.release.digest import inspect_weights
from ayllu.release.proof.kind import LOSS, WEIGHTS, Kind

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer

FOLDER, BEFORE = "training", "weights"
RELEASE = "release"


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training on the way to a release."""

    name: str
    weights: Path
    """What it made: the folder of weights with the stretch that was kept beside them."""
    told: Mapping[str, Any]
    """What its record says of how it may be taken again: `machine`, `objective` and its settings, or `reason`.

    `held_to` is "begins" where it was held to the weights that it began with, and not to `reference`.
    """
    begins: Path | None = None
    """The weights under what was trained, where training changed only a part; else the release's own."""
    reference: Path | None = None
    """The model that it was held to."""
    ends: Mapping[str, Any] = field(default_factory=dict)
    """How the release follows: `kept`, the share that interpolation with the reference keeps; empty: it does not."""


def write_training(folder: Path, training: Training) -> dict[str, Any]:
    """Copy a stretch and what it needs into the proof in `folder`; what proof.json says of it.

    Raises UserError, in words, where nothing was kept.
    """
    from ayllu.train.stretch import FOLDER as KEPT
    from ayllu.train.stretch.replay import read_stretch

    stretch = training.weights / KEPT
    if training.told.get("reason") or not stretch.is_dir():
        raise UserError(str(training.told.get("reason") or "its last steps were not kept when it was trained"))
    shutil.copytree(stretch, folder / FOLDER / training.name)
    entry = {"name": training.name, **training.told, "begins": RELEASE, "ends": dict(training.ends)}
    entry["compiled"] = read_stretch(stretch).config.compiled
    for role, weights in (("begins", training.begins), ("reference", training.reference)):
        if weights is not None:
            entry[role] = _copy(weights, folder)
    return entry


def _copy(weights: Path, folder: Path) -> str:
    """Weights and configuration under the digest of the weights, so that the same lie there once."""
    name = f"{BEFORE}/{inspect_weights(weights).digest[:16]}"
    if not (folder / name).is_dir():
        (folder / name).mkdir(parents=True)
        for path in [
            *weights.glob("*.safetensors"),
            *weights.glob("*.safetensors.index.json"),
            weights / "config.json",
        ]:
            shutil.copyfile(path, folder / name / path.name)
    return name


def training_problems(release: Path, folder: Path, entry: Mapping[str, Any], kind: Kind) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each loss, and for the weights, that do not come out again."""
    from ayllu.model.files import hf
    from ayllu.train.lora import LoraConfig, attach
    from ayllu.train.stretch.replay import objective_of, read_stretch, replay

    place = f"{FOLDER}/{entry['name']}"
    stretch = read_stretch(folder / place)
    model = hf.load(_model(release, folder, entry["begins"]))
    reference = hf.load(_model(release, folder, entry["reference"])) if entry.get("reference") else None
    for name in entry.get("frozen", ()):
        model.get_submodule(name).requires_grad_(False)
    if "lora" in entry:
        attach(model, LoraConfig(**entry["lora"]))
    held_to = hf.load(_model(release, folder, entry["begins"])) if entry.get("held_to") == "begins" else reference
    found = replay(stretch, model, objective_of(entry, held_to))
    relative = LOSS[stretch.config.precision]
    for step, told, loss in zip(stretch.steps, stretch.losses, found, strict=True):
        if not kind.equal(told, loss, relative=relative):
            yield f"{place}/stretch.json", f"says a loss of {told!r} in step {step}, which taken again gives {loss!r}"
            return
    if entry["ends"]:
        yield from _end_problems(release, place, model, reference, entry, kind)


def _model(release: Path, folder: Path, name: str) -> Path:
    if name != RELEASE and not name.startswith(f"{BEFORE}/"):
        raise ValueError(f"{name} is no model of the proof")
    return release if name == RELEASE else folder / name


def _end_problems(
    release: Path, place: str, model: Transformer, reference: Transformer | None, entry: Mapping[str, Any], kind: Kind
) -> Iterator[tuple[str, str]]:
    import torch

    from ayllu.model.files import hf
    from ayllu.train.lora import detach

    kept = float(entry["ends"]["kept"])
    released = dict(hf.load(release).named_parameters())
    ended = dict(detach(model, merge=True).named_parameters())
    first = dict(reference.named_parameters()) if reference is not None and kept != 1.0 else None
    apart = size = 0.0
    with torch.no_grad():
        for name, weight in released.items():
            end = ended[name] if first is None else first[name] + kept * (ended[name] - first[name])
            apart += float((end - weight).double().square().sum())
            size += float(weight.double().square().sum())
    most = 0.0 if kind.same else WEIGHTS * math.sqrt(size)
    if math.sqrt(apart) > most:
        share = math.sqrt(apart / size) if size else math.inf
        yield place, f"ends in other weights than the release holds: they are {share:.2g} of their norm apart"
