"""Whether this machine computes the same bits as the one that a value comes from, and how far apart values may be."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LIKELIHOOD = 1e-3
"""Nats by which a log-likelihood in float32 may differ on another kind of processor."""
ROUNDED = {"float32": (1e-3, 1e-5), "bfloat16": (0.3, 0.0)}
"""By how much a score may differ from the same question asked alone, by what both were computed in: nats (bits of a
document) for each square root of its tokens, and a share of the value. In one batch with others sums are added up in
another order, so that these are never the same bits. Of 42 questions SmolLM2-135M gave up to 4.5e-5 nats (float32) and
0.12 nats for each square root of the tokens (bfloat16)."""
ROUNDED_MEAN = {"float32": 1e-3, "bfloat16": 0.05}
"""The same for the mean over all that were asked: what is edited a little everywhere shows here."""
NEAR_TIE = 1e-2
"""Logits between the likeliest token and the next below which another kind of processor may choose the other."""
LOSS = {"float32": 1e-3, "bf16": 2e-2}
"""Share of a loss by which it may differ on another kind of processor, by what the matmuls are in."""
WEIGHTS = 1e-2
"""Norm of the difference between the weights after a stretch and those released, as a share of the latter's norm."""
ASKED = ("processor", "flags", "instructions", "device", "threads", "system")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """How values of another machine compare with those of this one."""

    same: bool
    """To the last bit."""
    why: str
    """What tells the two apart; empty where nothing does."""

    @property
    def told(self) -> str:
        """For the report."""
        return "equal to the last bit" if self.same else f"within the tolerances ({self.why})"

    def equal(self, one: float, other: float, *, absolute: float = 0.0, relative: float = 0.0) -> bool:
        """Whether two values are the same: to the last bit, or within the tolerances where the processors differ."""
        if self.same:
            return one == other
        return math.isclose(one, other, abs_tol=absolute, rel_tol=relative)


def compare_machines(there: Mapping[str, Any], here: Mapping[str, Any], *, compiled: bool = False) -> Kind:
    """What can be asked of values that `there` computed, when computed again `here`, with as many threads.

    `compiled` says that what they were computed with was compiled there and cannot be here.
    """
    if not isinstance(there.get("threads"), int) or there["threads"] > here["cores"]:
        return Kind(same=False, why=f"{there.get('threads')} threads there, {here['cores']} cores here")
    for what in ASKED:
        if what != "threads" and there.get(what) != here[what]:
            return Kind(same=False, why=f"another {what}: {there.get(what)} there, {here[what]} here")
    torch_there, torch_here = (machine["versions"]["torch"] for machine in (there, here))
    if torch_there != torch_here:
        return Kind(same=False, why=f"torch {torch_there} there, {torch_here} here")
    if compiled:
        return Kind(same=False, why="the training was compiled, and there is no compiler here")
    return Kind(same=True, why="")


@contextlib.contextmanager
def threads_of(machine: Mapping[str, Any]) -> Iterator[None]:
    """Compute with as many threads as `machine` had, as far as there are cores: sums are added up in their order."""
    import torch

    before, wanted = torch.get_num_threads(), machine.get("threads")
    cores = machine_cores()
    torch.set_num_threads(max(1, min(wanted, cores)) if isinstance(wanted, int) else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine_cores() -> int:
    """Cores of this machine."""
    import os

    return os.cpu_count() or 1
