"""DPO, and its variants that differ in a line: learning from pairs of which one answer is preferred.

Shapes: N scored tokens, P pairs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ayllu.data.tokens.loader import permute
from ayllu.lab.progress import bar
from ayllu.model.transformer import Transformer
from ayllu.train.objectives.shared_prefix import Ids, SharedPrefixRows, content_fingerprint, pack_shared_prefix

Kind = Literal["dpo", "ipo", "simpo"]


@dataclass(frozen=True, kw_only=True)
class DPOConfig:
    """Which loss, and how strongly. Raises ValueError on numbers that no such loss has."""

    kind: Kind = "dpo"
    """dpo: -log sigmoid(beta * (log-ratio of the chosen - log-ratio of the rejected)), log-ratios to the reference
    (Rafailov et al., arXiv:2305.18290, equation 7). ipo: (difference of the log-ratios - 1 / (2 beta))^2 (Azar et al.,
    arXiv:2310.12036, equation 17). simpo: without a reference, -log sigmoid(beta * (difference of the mean
    log-probabilities per token) - margin) (Meng et al., arXiv:2405.14734, equation 6)."""
    beta: float = 0.1
    margin: float = 0.0
    """SimPO's gamma."""
    likelihood: float = 0.0
    """Weight of the chosen answer's negative log-likelihood, added so that it does not fall together with the rejected
    one's (RPO, arXiv:2404.19733, equation 2, where it is per token)."""

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise ValueError(f"beta is {self.beta}; it must be above 0")
        if self.likelihood < 0:
            raise ValueError(f"likelihood is {self.likelihood}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """Pairs in rows with shared prefixes: continuation 2i is the chosen one of pair i, 2i + 1 the rejected one."""

    rows: SharedPrefixRows
    reference_P2: Tensor
    """Summed log-probabilities of both under the reference; zeros make any loss reference-free."""

    @property
    def ids(self) -> int:
        """Ids that go in, padding with them."""
        return self.rows.ids_BT.numel()

    @property
    def count(self) -> Tensor:
        """Pairs: what the summed loss is divided by."""
        return torch.tensor(len(self.reference_P2))


Pair = tuple[Ids, Ids, Ids]
"""The ids of a prompt, of the chosen answer and of the rejected one."""


class PairSource:
    """Batches of pairs in an order drawn from a seed, each pair once per pass."""

    def __init__(self, pairs: Sequence[Pair], reference_P2: Tensor | None, *, length: int, seed: int) -> None:
        """`reference_P2` is what `reference_log_probabilities` gave; None for a loss that needs no reference."""
        if not pairs:
            raise ValueError("there are no pairs to learn from")
        self._pairs, self.length, self._seed = pairs, length, seed
        self._reference_P2 = torch.zeros(len(pairs), 2) if reference_P2 is None else reference_P2

    @functools.cached_property
    def fingerprint(self) -> str:
        """Differs where any batch does."""
        return content_fingerprint(self.length, self._seed, list(self._pairs), self._reference_P2.tolist())

    def batch(self, first: int, size: int) -> PairBatch:
        """Pairs `first` to `first + size - 1` of the order."""
        chosen = []
        for sample in range(first, first + size):
            epoch, at = divmod(sample, len(self._pairs))
            chosen.append(permute(at, len(self._pairs), self._seed * 1_000_003 + epoch))
        return PairBatch(
            rows=_rows([self._pairs[i] for i in chosen], self.length), reference_P2=self._reference_P2[chosen]
        )


def _rows(pairs: Sequence[Pair], length: int) -> SharedPrefixRows:
    return pack_shared_prefix([(prompt, (good, bad)) for prompt, good, bad in pairs], length=length)


@torch.no_grad()
def reference_log_probabilities(
    model: Transformer, pairs: Sequence[Pair], *, length: int, dtype: torch.dtype, batch: int = 8
) -> Tensor:
    """Summed log-probabilities (P, 2) of chosen and rejected answers, before training changes `model`."""
    found = []
    with bar("reference", total=len(pairs), unit="pairs") as progress:
        for start in range(0, len(pairs), batch):
            rows = _rows(pairs[start : start + batch], length)
            found.append(rows.by_continuation(rows.log_probabilities(model, dtype)).view(-1, 2))
            progress.advance(len(found[-1]))
    return torch.cat(found)


def dpo_loss(config: DPOConfig) -> Callable[[Transformer, PairBatch, torch.dtype], Tensor]:
    """The objective: (model, pairs, dtype) to the loss summed over pairs, a float32 scalar."""

    def loss(model: Transformer, batch: PairBatch, dtype: torch.dtype) -> Tensor:
        log_N = batch.rows.log_probabilities(model, dtype)
        sums_P2 = batch.rows.by_continuation(log_N).view(-1, 2)
        means_P2 = sums_P2 / batch.rows.lengths().view(-1, 2)
        ratio_P2 = means_P2 if config.kind == "simpo" else sums_P2 - batch.reference_P2
        difference_P = ratio_P2[:, 0] - ratio_P2[:, 1]
        if config.kind == "ipo":
            losses_P = (difference_P - 1 / (2 * config.beta)).square()
        else:
            margin = config.margin if config.kind == "simpo" else 0.0
            losses_P = -F.logsigmoid(config.beta * difference_P - margin)
        return (losses_P - config.likelihood * means_P2[:, 0]).sum()

    return loss
