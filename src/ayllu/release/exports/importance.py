"""How much each column of a matrix matters: the mean square of what it is multiplied with on some text.

The error that rounding a weight brings into a product grows with its input, so that the search for scales may spend
precision on columns that see large ones. It is what llama.cpp's `imatrix` gathers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ayllu.lab.progress import bar
from ayllu.model.transformer import Linear, Transformer
from ayllu.text.tokenizer import Tokenizer

LEAST = 1e-3
"""Of the mean: a column that no text used keeps this much of a say."""


def importance(model: Transformer, tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, Tensor]:
    """By our name of each matrix: (inputs,) of mean 1. A tied embedding counts as the output projection that it is."""
    sums: dict[str, Tensor] = {}

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            square = inputs[0].detach().float().square().flatten(0, -2).sum(0)
            sums[name] = sums[name] + square if name in sums else square

        return module.register_forward_pre_hook(add)

    handles = [watch(f"{name}.weight", part) for name, part in model.named_modules() if isinstance(part, Linear)]
    try:
        with torch.inference_mode(), bar("importance of weights", total=len(texts), unit="texts") as progress:
            for text in texts:
                ids = [tokenizer.bos, *tokenizer.encode(text)][: model.config.context]
                model(torch.tensor([ids]))
                progress.advance()
    finally:
        for handle in handles:
            handle.remove()
    found = {name: (values / values.mean()).clamp_min(LEAST) for name, values in sums.items() if values.any()}
    if model.config.tied and "output.weight" in found:
        found["embedding.weight"] = found.pop("output.weight")
    return found
