"""Many continuations at once: every step computes one token of each row, with one cache for all.

Shapes: P prompts, B rows (P times the copies of each), T time, S time of the keys, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ayllu.model.transformer import Cache, Transformer

SHRINK = 0.75
"""Rows are dropped from the batch once no more than this share of them still goes on: dropping copies the cache."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One continuation."""

    ids: list[int]
    """What was drawn; the id of `stop` that ended it stands at the end."""
    log_probabilities: list[float]
    """Of each id, under the distribution that it was drawn from."""
    stopped: bool
    """Whether an id of `stop` ended it, rather than the number of tokens."""


@torch.inference_mode()
def sample(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    tokens: int,
    stop: frozenset[int] = frozenset(),
    temperature: float = 1.0,
    seeds: Sequence[Sequence[int]] | None = None,
    dtype: torch.dtype | None = None,
) -> list[list[Sample]]:
    """Continue every prompt once for each of its `seeds`, by up to `tokens` ids.

    At `temperature` 0 the likeliest id is taken (log-probabilities are then those at temperature 1). A row's draws
    come from its seed alone: they are the same in whatever company it is computed, up to the rounding of `dtype`, and
    a prompt is computed once however many seeds it has. `dtype` is what the model computes in (None: the weights'
    own); a copy of the weights in it is made first, which pays from a few tokens on. Raises ValueError on an empty
    prompt, one that leaves no room in the context, and seeds that are not as many lists as prompts.
    """
    if not prompts:
        return []
    seeds = seeds if seeds is not None else [[0]] * len(prompts)
    longest = max(len(prompt) for prompt in prompts)
    _check(model, prompts, seeds, longest + tokens)
    model = in_type(model, dtype or model.embedding.weight.dtype)
    owner = [prompt for prompt, given in enumerate(seeds) for _ in given]
    drawn = _Rows([seed for given in seeds for seed in given], tokens, stop, temperature)
    logits_BV, cache = _begin(model, prompts, owner, longest + tokens)
    for _ in range(tokens):
        fresh_B = drawn.draw(logits_BV)
        kept = drawn.going()
        if not kept:
            break
        if len(kept) <= SHRINK * len(drawn.active):
            rows_N = torch.tensor(kept, device=fresh_B.device)
            cache, fresh_B = cache.take(rows_N), fresh_B[rows_N]
            drawn.active = [drawn.active[row] for row in kept]
        state_BTD = model.hidden(fresh_B[:, None], cache=cache, dtype=model.embedding.weight.dtype)
        logits_BV = model.output(state_BTD[:, -1]).float()
    samples = iter(drawn.samples)
    return [[next(samples) for _ in given] for given in seeds]


def _check(model: Transformer, prompts: Sequence[Sequence[int]], seeds: Sequence[Sequence[int]], capacity: int) -> None:
    if len(seeds) != len(prompts) or not all(seeds):
        raise ValueError(f"{len(prompts)} prompts and {len(seeds)} lists of seeds: each prompt needs at least one seed")
    if not all(prompts):
        raise ValueError("a prompt is empty: there is nothing to continue")
    if capacity > model.config.context:
        longest = max(len(prompt) for prompt in prompts)
        raise ValueError(
            f"the longest prompt has {longest} tokens; with {capacity - longest} more it does not fit into the model's "
            f"context of {model.config.context}"
        )


def in_type(model: Transformer, dtype: torch.dtype) -> Transformer:
    """The model with its weights in `dtype`: itself where they are, else a copy without gradients.

    The matrices are cast at every use otherwise, which for a single token takes longer than the matmul. Norms stay.
    """
    if model.embedding.weight.dtype == dtype:
        return model
    casts: dict[int, Tensor] = {}
    for weight in model.parameters():
        if weight.ndim == 2:
            casts[id(weight)] = torch.nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        else:
            casts[id(weight)] = weight
    # What deepcopy finds in its memo is not copied again.
    return copy.deepcopy(model, casts)


class _Rows:
    """What each row has drawn so far. `active` names the rows that the batch still holds, in its order."""

    def __init__(self, seeds: Sequence[int], tokens: int, stop: frozenset[int], temperature: float) -> None:
        self.samples = [Sample(ids=[], log_probabilities=[], stopped=False) for _ in seeds]
        self.active = list(range(len(seeds)))
        self._tokens, self._stop, self._temperature = tokens, stop, temperature
        # One uniform number a token decides the draw, so that a row owes nothing to its neighbours.
        uniform = [torch.rand(tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        self._uniform_BT = torch.stack(uniform) if tokens else torch.empty(len(seeds), 0)
        self._step = 0

    def draw(self, logits_BV: Tensor) -> Tensor:
        """The next id of every row in the batch (B), kept for those that still go on."""
        scaled_BV = logits_BV / self._temperature if self._temperature else logits_BV
        log_BV = scaled_BV.log_softmax(-1)
        if self._temperature:
            cumulative_BV = log_BV.exp().cumsum(-1)
            threshold_B = self._uniform_BT[self.active, self._step].to(log_BV.device) * cumulative_BV[:, -1]
            chosen_B1 = torch.searchsorted(cumulative_BV, threshold_B[:, None], right=True)
            chosen_B1 = chosen_B1.clamp(max=log_BV.shape[-1] - 1)
        else:
            chosen_B1 = log_BV.argmax(-1, keepdim=True)
        values = log_BV.gather(-1, chosen_B1)[:, 0].tolist()
        for row, chosen, value in zip(self.active, chosen_B1[:, 0].tolist(), values, strict=True):
            was = self.samples[row]
            if not was.stopped:
                was.ids.append(chosen)
                was.log_probabilities.append(value)
                if chosen in self._stop:
                    self.samples[row] = Sample(ids=was.ids, log_probabilities=was.log_probabilities, stopped=True)
        self._step += 1
        return chosen_B1[:, 0]

    def going(self) -> list[int]:
        """Places in the batch whose rows need another token."""
        if self._step == self._tokens:
            return []
        return [place for place, row in enumerate(self.active) if not self.samples[row].stopped]


def _begin(
    model: Transformer, prompts: Sequence[Sequence[int]], owner: Sequence[int], capacity: int
) -> tuple[Tensor, Cache]:
    """Logits after each row's prompt (B, V) and the cache; a row has the positions that it has alone."""
    weight = model.embedding.weight
    cache = Cache(model.config, batch=len(prompts), capacity=capacity, dtype=weight.dtype, device=weight.device)
    read = _read_in_turn if weight.device.type == "cpu" else _read_together
    state_PD = read(model, prompts, cache)
    cache.lengths_B = torch.tensor([len(prompt) for prompt in prompts], device=weight.device)
    rows_B = torch.tensor(owner, device=weight.device)
    if len(owner) > len(prompts):
        cache = cache.take(rows_B)
    return model.output(state_PD).float()[rows_B], cache


def _read_in_turn(model: Transformer, prompts: Sequence[Sequence[int]], cache: Cache) -> Tensor:
    """The normed stream behind each prompt (P, D), each read behind what it has in common with one before it.

    Nothing is padded or read twice. On a processor a pass of some sixty ids takes no longer an id than one of many.
    """
    weight = model.embedding.weight
    state_PD = weight.new_empty(len(prompts), model.config.width)
    alone = Cache(model.config, batch=1, capacity=cache.keys.shape[3], dtype=weight.dtype, device=weight.device)
    before: Sequence[int] = ()
    for row in sorted(range(len(prompts)), key=lambda row: list(prompts[row])):
        prompt = prompts[row]
        alone.length = min(_in_common(before, prompt), len(prompt) - 1)
        rest = torch.tensor([prompt[alone.length :]], device=weight.device)
        state_PD[row] = model.hidden(rest, cache=alone, dtype=weight.dtype)[0, -1]
        for kept, own in ((cache.keys, alone.keys), (cache.values, alone.values)):
            kept[:, row, :, : len(prompt)] = own[:, 0, :, : len(prompt)]
        before = prompt
    return state_PD


def _read_together(model: Transformer, prompts: Sequence[Sequence[int]], cache: Cache) -> Tensor:
    """The same in one pass, padded on the right: what stands there is seen by nothing, and written over later."""
    weight = model.embedding.weight
    longest = max(len(prompt) for prompt in prompts)
    padded = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], device=weight.device)
    last_P = torch.tensor([len(prompt) - 1 for prompt in prompts], device=weight.device)
    state_PTD = model.hidden(padded, cache=cache, dtype=weight.dtype)
    return state_PTD[torch.arange(len(prompts), device=weight.device), last_P]


def _in_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
