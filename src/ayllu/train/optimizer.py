"""Muon for the matrices of the blocks, AdamW for everything else.

Muon: Keller Jordan et al., "Muon: an optimizer for hidden layers" (2024), its updates scaled as in "Muon is scalable
for LLM training" (arXiv:2502.16982, section 2.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ayllu.model.transformer import Transformer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al.): steep at zero, they bring singular values into 0.7 to 1.2."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Step sizes and their company; a run's schedule multiplies the learning rates."""

    muon_lr: float = 0.01
    """Peak learning rate of the blocks' matrices, in units of update RMS 0.2 (see `Muon.step`)."""
    adam_lr: float = 0.03
    """Peak learning rate of embedding, output projection and norms."""
    muon_momentum: float = 0.95
    adam_betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    """Decay of matrices per unit of learning rate; embeddings and norms have none."""
    iterations: int = 5
    """Newton-Schulz steps."""


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal: each update has all singular values near one.

    Matrices of one shape are stacked and orthogonalised together, a few large products where there would be many small.
    """

    def __init__(
        self, params: Sequence[Tensor], *, lr: float, momentum: float, weight_decay: float, iterations: int
    ) -> None:
        super().__init__(
            list(params), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; the update's root mean square is 0.2 times the learning rate."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes[weight.shape].append(weight)
            for weights in shapes.values():
                self._step_stack(weights, group)

    def _step_stack(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if "momentum" not in self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        updates = orthogonalise(torch.stack(nesterov), group["iterations"])
        scale = 0.2 * max(weights[0].shape) ** 0.5
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, list(updates.to(weights[0].dtype).unbind()), alpha=-group["lr"] * scale)


def orthogonalise(matrices: Tensor, iterations: int) -> Tensor:
    """The nearest (semi-)orthogonal matrices to a stack (N, rows, columns), roughly, in bf16, by Newton-Schulz."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Optimizer:
    """Both optimizers as one: `set_rate` by the schedule, `step`, and a state that can be saved."""

    def __init__(self, model: Transformer, config: OptimizerConfig) -> None:
        self.config = config
        matrices = [w for name, w in model.named_parameters() if name.startswith("blocks.") and w.ndim == 2]
        chosen = {id(w) for w in matrices}
        others = [w for w in model.parameters() if id(w) not in chosen]
        self.muon = Muon(
            matrices,
            lr=config.muon_lr,
            momentum=config.muon_momentum,
            weight_decay=config.weight_decay,
            iterations=config.iterations,
        )
        self.adam = torch.optim.AdamW(
            others, lr=config.adam_lr, betas=config.adam_betas, eps=1e-10, weight_decay=0.0, fused=True
        )

    def weights(self) -> list[Tensor]:
        """All weights that are updated."""
        return [w for part in (self.muon, self.adam) for group in part.param_groups for w in group["params"]]

    def set_rate(self, factor: float) -> None:
        """Set each learning rate to `factor` times its peak."""
        self.muon.param_groups[0]["lr"] = self.config.muon_lr * factor
        self.adam.param_groups[0]["lr"] = self.config.adam_lr * factor

    def step(self) -> None:
        self.muon.step()
        self.adam.step()

    def zero_grad(self) -> None:
        self.muon.zero_grad(set_to_none=True)
        self.adam.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
