"""Weights as stages keep them: loaded, written, between two models, and what the record says of their training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.stages.artifacts import Weights

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer


@stage(identity="soften", makes=Weights, names_in_key={"adopted": "before", "trained": "taught"})
def interpolate_weights(ctx: Context, adopted: Handle[Weights], trained: Handle[Weights], *, kept: float) -> None:
    """Weights between the adopted model's and the trained one's, `kept` of the way.

    What was learnt hardly gets weaker, and what was forgotten comes back (WiSE-FT, Wortsman et al., arXiv:2109.01903,
    section 4).
    """
    import torch

    weights, tokenizer = load_weights(trained.value)
    start, _ = load_weights(adopted.value)
    with torch.no_grad():
        for weight, first in zip(weights.parameters(), start.parameters(), strict=True):
            weight.copy_(first + kept * (weight - first))
    keep_weights(ctx, weights, tokenizer, like=trained.value)


def load_weights(folder: Path) -> tuple[Transformer, Tokenizer]:
    """A model in float32 and its tokenizer."""
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    return hf.load(folder), Tokenizer.load(folder)


def keep_weights(ctx: Context, weights: Transformer, tokenizer: Tokenizer, *, like: Path) -> None:
    """Write a model with the tokenizer and the first id of the model in the folder `like`."""
    from ayllu.model.files import hf

    config = json.loads((like / "config.json").read_text())
    bos, pad = config.get("bos_token_id"), config.get("pad_token_id")
    hf.save(ctx.folder, weights, bos=bos, stops=sorted(tokenizer.stops), pad=pad)
    tokenizer.save(ctx.folder)


def note_training(ctx: Context, losses: list[float], *, seconds: float, steps: int) -> None:
    """Keep the losses, and in the record their mean over the last twenty steps."""
    from ayllu.train.loop import write_losses

    write_losses(ctx.folder / "losses.jsonl", losses)
    last = losses[-min(20, len(losses)) :]
    ctx.note("seconds", round(seconds, 1))
    ctx.note("steps", steps)
    ctx.note("loss", math.fsum(last) / len(last))
