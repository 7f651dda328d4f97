"""One trial: a recipe's pretraining with given options, and what held-out text says of it. Nothing is released."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Handle, order
from ayllu.lab.run import Place, resolve
from ayllu.lab.visible import visible
from ayllu.recipes.limits import check_options
from ayllu.recipes.stages.evaluate import heldout

MAIN = "everyday-english"
"""The source whose bits per byte count where it is among the held-out ones; else the first."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a trial came to."""

    value: float
    """Bits per byte; less is better."""
    source: str
    key: str
    """Of the weights, of the stage `pretrain`."""
    seconds: float
    """Of training."""
    parameters: int
    tokens: int


def trial(recipe: Callable[..., Handle[Any]], options: Mapping[str, Any], *, documents: int) -> Handle[Path]:
    """The scores of what the recipe pretrains with `options`, measured on its first held-out documents.

    Raises UserError for a recipe that pretrains nothing, and for options that it refuses.
    """
    name = getattr(recipe, "__name__", "recipe")
    check_options(recipe, options)
    try:
        handle = recipe(**options)
    except TypeError as error:
        told = visible(str(error), longest=200)
        raise UserError(f"the recipe {name} cannot take such a value among its options: {told}") from error
    nodes = {node.stage.identity: node for node in order(handle)}
    if any(needed not in nodes for needed in ("pretrain", "corpus", "learn_tokenizer")):
        raise UserError(
            f"the recipe {name} pretrains nothing, so that no trial of it can be measured; try cria or llama"
        )
    return heldout(nodes["pretrain"], nodes["corpus"], nodes["learn_tokenizer"], documents=documents)


def run_trial(
    recipe: Callable[..., Handle[Any]], options: Mapping[str, Any], place: Place, *, documents: int, title: str
) -> Measured:
    """Train and measure what is not there yet, from where a killed trial stopped."""
    handle = trial(recipe, options, documents=documents)
    made = resolve(handle, dataclasses.replace(place, title=title))
    weights = next(found for node, found in made.items() if node.stage.identity == "pretrain")
    bits, record = made[handle].record["bits_per_byte"], weights.record
    source = MAIN if MAIN in bits else next(iter(bits))
    return Measured(
        value=bits[source],
        source=source,
        key=weights.manifest["key"],
        seconds=record["seconds"],
        parameters=record["parameters"],
        tokens=record["tokens"],
    )
