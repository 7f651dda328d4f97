"""Muon for the matrices of the blocks, AdamW for everything else; both on whole weights or on shards of them.

Muon: Keller Jordan et al., "Muon: an optimizer for hidden layers" (2024), its updates scaled as in "Muon is scalable
for LLM training" (arXiv:2502.16982, section 2.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from ayllu.train.distributed.dtensor import gather_like, local_shard, redistribute_grad, shard_like

STACK_BYTES = 1 << 32
"""Size in float32 of the matrices that are made orthogonal, or sent, together: without a limit those of a model of
405 billion would not fit beside its weights."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al.): steep at zero, they bring singular values into 0.7 to 1.2."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Peak learning rates, which a run's schedule multiplies, and what else the two optimizers need."""

    matrices: Literal["muon", "adamw"] = "muon"
    """What updates the blocks' matrices; with adamw they take `adam_lr` too."""
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
    muon_dtype: Literal["bf16", "float32"] = "bf16"
    """Type of the Newton-Schulz matmuls."""


def is_matrix(name: str, weight: Tensor) -> bool:
    """Whether `weight` is a matrix of a block: what Muon is for."""
    return name.startswith("blocks.") and weight.ndim == 2


class Optimizer:
    """Both optimizers as one: `set_lr_scale` by the schedule, `step`, and a state that is named by weight."""

    def __init__(self, weights: Mapping[str, Tensor], config: OptimizerConfig) -> None:
        """`weights` by name; those that begin with `blocks.` and have two axes are matrices."""
        self.config = config
        self.weights = {name: weight for name, weight in weights.items() if weight.requires_grad}
        matrices = [w for name, w in self.weights.items() if is_matrix(name, w)]
        chosen = {id(w) for w in matrices}
        others = [w for w in self.weights.values() if id(w) not in chosen]
        self.parts: list[torch.optim.Optimizer] = []
        self._peak_lrs: list[float] = []
        groups: list[dict[str, Any]] = [{"params": others, "weight_decay": 0.0}] if others else []
        if matrices and config.matrices == "adamw":
            groups.append({"params": matrices, "weight_decay": config.weight_decay})
        elif matrices:
            muon = Muon(
                matrices,
                lr=config.muon_lr,
                momentum=config.muon_momentum,
                weight_decay=config.weight_decay,
                iterations=config.iterations,
                dtype={"bf16": torch.bfloat16, "float32": torch.float32}[config.muon_dtype],
            )
            self._add(muon, config.muon_lr)
        if groups:
            # A mean over all tokens gives embedding rows of rare ids tiny gradients: torch's 1e-8 would hold them back.
            adam = torch.optim.AdamW(groups, lr=config.adam_lr, betas=config.adam_betas, eps=1e-10, fused=True)
            for group in adam.param_groups:
                for weight in group["params"]:
                    # As torch makes it at the first step: a checkpoint then always has the same entries.
                    adam.state[weight] = {
                        "step": torch.zeros((), dtype=torch.float32, device=weight.device),
                        "exp_avg": torch.zeros_like(weight),
                        "exp_avg_sq": torch.zeros_like(weight),
                    }
            self._add(adam, config.adam_lr)

    def _add(self, part: torch.optim.Optimizer, peak_lr: float) -> None:
        self.parts.append(part)
        self._peak_lrs.append(peak_lr)

    def set_lr_scale(self, lr_scale: float) -> None:
        """Set each learning rate to `lr_scale` times its peak."""
        for part, peak in zip(self.parts, self._peak_lrs, strict=True):
            for group in part.param_groups:
                group["lr"] = peak * lr_scale

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        for weight in self.weights.values():
            weight.grad = None

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by weight, of those that have one, sharded as their weights are."""
        for weight in self.weights.values():
            redistribute_grad(weight)
        return {name: weight.grad for name, weight in self.weights.items() if weight.grad is not None}

    def state(self) -> dict[str, Tensor]:
        """All tensors of the state (not copies) by `WEIGHT.ENTRY`, the same names under every layout."""
        found: dict[str, Tensor] = {}
        for part in self.parts:
            for name, weight in self.weights.items():
                found |= {f"{name}.{entry}": value for entry, value in part.state.get(weight, {}).items()}
        return found


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal: each update has all singular values near one.

    Matrices of one shape are stacked and orthogonalised together, a few large matmuls where there would be many small.
    Of matrices that are sharded over devices each device orthogonalises its share, whole, and all get the results.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        iterations: int,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(
            list(params),
            {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations, "dtype": dtype},
        )
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; the update's root mean square is 0.2 times the learning rate."""
        for group in self.param_groups:
            # Tensor parallelism shards some matrices of a shape by rows and some by columns: stacks of their own.
            stacks: dict[tuple[torch.Size, Any], list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    stacks[weight.shape, getattr(weight, "placements", None)].append(weight)
            for weights in stacks.values():
                self._step_stack(weights, group)

    def _step_stack(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [local_shard(weight.grad) for weight in weights if weight.grad is not None]
        momenta = [local_shard(self.state[weight]["momentum"]) for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        # Nesterov's look ahead: the momentum as the next gradient, if it were this one again, would leave it.
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        updates = _orthogonal_updates(weights, nesterov, group["iterations"], group["dtype"])
        # Orthogonal m x n has an RMS of 1/sqrt(max(m, n)): so every matrix moves as far as AdamW would move it, whose
        # updates have an RMS of 0.2 to 0.4 (arXiv:2502.16982, section 2.2), and learning rates carry over.
        scale = 0.2 * max(weights[0].shape) ** 0.5
        parts = [local_shard(weight) for weight in weights]
        torch._foreach_mul_(parts, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parts, updates, alpha=-group["lr"] * scale)


def _orthogonal_updates(
    weights: list[Tensor], nesterov: Sequence[Tensor], iterations: int, dtype: torch.dtype
) -> list[Tensor]:
    """This device's part of the orthogonalised `nesterov` (parts too) of `weights`: of one shape and sharded alike."""
    first = weights[0]
    if isinstance(first, DTensor):
        return _orthogonal_updates_of_shards(weights, nesterov, iterations, dtype)
    return [
        update
        for chunk in _chunks(range(len(weights)), first)
        for update in orthogonalise(torch.stack([nesterov[i] for i in chunk]), iterations, dtype)
        .to(first.dtype)
        .unbind()
    ]


def _chunks(numbers: Sequence[int], like: Tensor) -> list[Sequence[int]]:
    """`numbers` in parts of which as many matrices of the size of `like` fit into STACK_BYTES."""
    size = max(STACK_BYTES // (4 * like.numel()), 1)
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _orthogonal_updates_of_shards(
    weights: list[Any], nesterov: Sequence[Tensor], iterations: int, dtype: torch.dtype
) -> list[Tensor]:
    """The same where no device has a whole matrix: each keeps its share of them whole, and all get the results."""
    first: DTensor = weights[0]
    mesh = first.device_mesh
    rank = int((mesh.mesh == dist.get_rank()).flatten().nonzero().item())
    mine: dict[int, Tensor] = {}
    for chunk in _chunks(range(len(weights)), first):
        # Gathering takes all devices, so all see every matrix, a stack after the other, and keep their own.
        whole = gather_like(torch.stack([nesterov[i] for i in chunk]), first, stacked=True)
        mine |= {i: whole[place].clone() for place, i in enumerate(chunk) if i % mesh.size() == rank}
        del whole  # up to STACK_BYTES, which the next stack needs
    for chunk in _chunks(list(mine), first):
        stack = orthogonalise(torch.stack([mine[i] for i in chunk]), iterations, dtype)
        mine |= dict(zip(chunk, stack.unbind(), strict=True))
    parts = []
    for chunk in _chunks(range(len(weights)), first):
        stack = torch.zeros(len(chunk), *first.shape, dtype=dtype, device=nesterov[0].device)
        for place, i in enumerate(chunk):
            if i in mine:
                stack[place] = mine.pop(i)
        # Every matrix is there on one device and zero on the others: sums are exact, and gather without a group of all.
        for dimension in range(mesh.ndim):
            dist.all_reduce(stack, group=mesh.get_group(dimension))
        own = shard_like(stack.to(first.dtype), first, stacked=True)
        parts += [update.clone() for update in own]  # a view would keep all of the stack
    return parts


def orthogonalise(matrices: Tensor, iterations: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """The nearest (semi-)orthogonal matrices to a stack (N, rows, columns), roughly, in `dtype`, by Newton-Schulz."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    # Singular values must begin below 1, or the iteration diverges: the Frobenius norm is above the largest of them.
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
