"""A language model that takes pictures: features of a frozen network, projected to where its words lie, are tokens.

As in LLaVA (Liu et al., arXiv:2304.08485), with a projector that sees a cell's neighbours, as the C-Abstractor does
(Cha et al., arXiv:2312.06742). Shapes: P pictures, I image tokens, F features, W width of the projector, D width of the
language model, B batch, T time.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ayllu.model.sight.efficientnet import CELLS, FEATURES, TOKENS, EfficientNetLite
from ayllu.model.sight.files import EYES, PROJECTOR
from ayllu.model.transformer import Transformer

WIDTH = 256


class Projector(nn.Module):
    """Features of cells to vectors among which those of words lie."""

    mean: Tensor
    deviation: Tensor
    scale: Tensor

    def __init__(self, width: int, *, features: int = FEATURES) -> None:
        """`width` is the language model's."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("scale", torch.ones(()))
        self.narrow = nn.Conv2d(features, WIDTH, 1)
        self.around = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.widen = nn.Conv2d(WIDTH, width, 1)
        self.places = nn.Parameter(torch.zeros(width, CELLS, CELLS))

    @torch.no_grad()
    def initialise(self, features_PIF: Tensor, embedding_VD: Tensor, *, seed: int) -> None:
        """Take scales from some pictures' features and from the words, and draw the rest from `seed`."""
        generator = torch.Generator().manual_seed(seed)
        self.mean.copy_(features_PIF.float().mean((0, 1)))
        self.deviation.copy_(features_PIF.float().std((0, 1)) + 1e-3)
        self.scale.copy_(embedding_VD.float().square().mean().sqrt())
        for layer in (self.narrow, self.around, self.widen):
            layer.weight.normal_(0.0, layer.weight[0].numel() ** -0.5, generator=generator)
            nn.init.zeros_(cast(Tensor, layer.bias))
        self.places.normal_(0.0, 0.1, generator=generator)

    def forward(self, features_PIF: Tensor) -> Tensor:
        """Vectors (P, I, D) in float32, as large as those of words at the start."""
        x_PIF = ((features_PIF.float() - self.mean) / self.deviation).clamp(-8, 8)
        x_PFHW = x_PIF.transpose(1, 2).unflatten(2, (CELLS, CELLS))
        x_PWHW = F.gelu(self.narrow(x_PFHW))
        x_PWHW = F.gelu(x_PWHW + self.around(x_PWHW))
        x_PDHW = self.scale * (self.widen(x_PWHW) + self.places)
        return x_PDHW.flatten(2).transpose(1, 2)


class SeeingTransformer(Transformer):
    """A transformer, whose parts it shares, with a projector."""

    def __init__(self, language: Transformer, projector: Projector) -> None:
        nn.Module.__init__(self)
        self.config, self.fused = language.config, language.fused
        self.embedding, self.blocks = language.embedding, language.blocks
        self.norm, self.output = language.norm, language.output
        self.projector = projector

    def embed(self, ids_BT: Tensor, features_PIF: Tensor, dtype: torch.dtype) -> Tensor:
        """The stream (B, T, D) of ids and image tokens, whose ids `picture_ids` gives."""
        vectors_ND = self.projector(features_PIF).flatten(0, 1)
        seen_BT1 = (ids_BT < 0)[..., None]
        words_BTD, picture_BTD = self.embedding(ids_BT.clamp(min=0)), vectors_ND[(-1 - ids_BT).clamp(min=0)]
        return torch.where(seen_BT1, picture_BTD, words_BTD).to(dtype)


def picture_ids(number: int = 0) -> list[int]:
    """What stands for the cells of a picture among ids: numbers that no tokenizer gives, from -1 downwards."""
    return [-1 - (TOKENS * number + cell) for cell in range(TOKENS)]


def save_projector(folder: Path, projector: Projector) -> None:
    """Write what was learnt."""
    state = {name: value.detach().contiguous() for name, value in projector.state_dict().items()}
    save_file(state, folder / PROJECTOR)


def load_projector(folder: Path) -> Projector:
    """What `save_projector` wrote. Raises ValueError where there is none, or a damaged one."""
    try:
        state = load_file(folder / PROJECTOR)
        projector = Projector(len(state["places"]), features=len(state["mean"]))
        projector.load_state_dict(state)
    except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder} holds no projector that can be read") from error
    return projector


def load_eyes(folder: Path) -> EfficientNetLite:
    """The frozen network of a folder. Raises ValueError where there is none, or a damaged one."""
    try:
        return EfficientNetLite(load_file(folder / EYES))
    except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder} holds no eyes that can be read") from error
