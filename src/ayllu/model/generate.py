"""Text out of a model, one token at a time.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import overload

import torch
from torch import Tensor

from ayllu.model.sampling import GREEDY, Constraint, Sampling
from ayllu.model.transformer import Cache, Transformer


@overload
def generate(
    model: Transformer,
    ids: Sequence[int],
    *,
    tokens: int,
    stop: frozenset[int] = ...,
    sampling: Sampling = ...,
    piece: None = None,
    drawer: Drawer | None = None,
) -> Iterator[int]: ...
@overload
def generate(
    model: Transformer,
    ids: Sequence[int],
    *,
    tokens: int,
    stop: frozenset[int] = ...,
    sampling: Sampling = ...,
    piece: int,
    drawer: Drawer | None = None,
) -> Iterator[int | None]: ...
@torch.inference_mode()
def generate(
    model: Transformer,
    ids: Sequence[int],
    *,
    tokens: int,
    stop: frozenset[int] = frozenset(),
    sampling: Sampling = GREEDY,
    piece: int | None = None,
    drawer: Drawer | None = None,
) -> Iterator[int | None]:
    """Yield up to `tokens` ids that continue `ids`; ends before an id of `stop` and where the model's context is full.

    `drawer` draws them, in place of a fresh one for `sampling`. With `piece` the ids given are read so many at a time,
    and None is yielded after each piece but the last, so that the caller can stop there. Raises ValueError when `ids`
    is empty or does not fit into the context.
    """
    if not ids:
        raise ValueError("there is nothing to continue: give at least one id")
    room = model.config.context - len(ids)
    if room < 0:
        raise ValueError(f"the prompt has {len(ids)} tokens; the model's context holds {model.config.context}")
    tokens = min(tokens, room)
    if tokens < 1:
        return
    weight = model.embedding.weight
    cache = Cache(model.config, batch=1, capacity=len(ids) + tokens, dtype=weight.dtype, device=weight.device)
    drawer = drawer or Drawer(sampling, ids)
    size = piece or len(ids)
    last = (len(ids) - 1) // size * size
    for start in range(0, last, size):
        model.hidden(
            torch.tensor([list(ids[start : start + size])], device=weight.device), cache=cache, dtype=weight.dtype
        )
        yield None
    fresh = torch.tensor([list(ids[last:])], device=weight.device)
    for _ in range(tokens):
        state_BTD = model.hidden(fresh, cache=cache, dtype=weight.dtype)
        logits_V = model.output(state_BTD[:, -1])[0].float().cpu()
        chosen = drawer.draw(logits_V)
        if chosen in stop:
            return
        yield chosen
        if drawer.ended:
            return
        fresh = torch.tensor([[chosen]], device=weight.device)


@torch.inference_mode()
def prompt_logprobs(
    model: Transformer, ids: Sequence[int], *, count: int, piece: int
) -> Iterator[list[tuple[int, float, list[tuple[int, float]]]]]:
    """Each of `ids` but the first, its log-probability behind those before, and the `count` likeliest with theirs.

    A list for each `piece` of ids that is read.
    """
    weight = model.embedding.weight
    cache = Cache(model.config, batch=1, capacity=len(ids), dtype=weight.dtype, device=weight.device)
    for start in range(0, len(ids) - 1, piece):
        part = list(ids[start : min(start + piece, len(ids) - 1)])
        state_BTD = model.hidden(torch.tensor([part], device=weight.device), cache=cache, dtype=weight.dtype)
        log_TV = model.output(state_BTD)[0].float().cpu().log_softmax(-1)
        top = log_TV.topk(min(count, log_TV.shape[-1]))
        yield [
            (token, float(row[token]), list(zip(likeliest.tolist(), values.tolist(), strict=True)))
            for token, row, likeliest, values in zip(
                ids[start + 1 : start + 1 + len(part)], log_TV, top.indices, top.values, strict=True
            )
        ]


class Drawer:
    """Draws the ids of one answer; knows what the prompt and the answer so far hold.

    With `logprobs`, `told` has of the id drawn last its log-probability and that many of the likeliest ids with
    theirs: of the model's own distribution, before anything that `sampling` and `constraint` do to it.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt: Sequence[int],
        *,
        written: int = 0,
        constraint: Constraint | None = None,
        logprobs: int | None = None,
    ) -> None:
        """The last `written` ids of the prompt are of the answer: what draws took, and penalties count, begins there.

        `constraint` stands behind them.
        """
        self._sampling, self._constraint, self._logprobs = sampling, constraint, logprobs
        self._seen, self._prompt = list(prompt), len(prompt) - written
        self._generator = torch.Generator(device="cpu")
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)
        for _ in range(written):
            _uniform(self._generator)
        self.told: tuple[float, list[tuple[int, float]]] | None = None

    @property
    def ended(self) -> bool:
        """Whether the constraint lets nothing follow."""
        return self._constraint is not None and self._constraint.ended

    def draw(self, logits_V: Tensor) -> int:
        """The next id, from logits (float32, on the CPU). Raises ValueError where every id is forbidden."""
        restricted_V = logits_V
        if self._constraint is not None:
            allowed_V = torch.from_numpy(self._constraint.allowed())
            restricted_V = logits_V.masked_fill(~allowed_V, -math.inf)
        chosen = pick(restricted_V, self._seen, self._sampling, self._generator, prompt=self._prompt)
        if self._constraint is not None:
            self._constraint.advance(chosen)
        if self._logprobs is not None:
            log_V = logits_V.log_softmax(-1)
            top = log_V.topk(self._logprobs)
            likeliest = list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            self.told = (float(log_V[chosen]), likeliest)
        self._seen.append(chosen)
        return chosen


def pick(
    logits_V: Tensor,
    seen: Sequence[int],
    sampling: Sampling,
    generator: torch.Generator,
    *,
    prompt: int | None = None,
) -> int:
    """Draw one id from `logits_V` (float32, on the CPU); the first `prompt` of the ids `seen` are given, or all.

    Bias, penalties, temperature, the k likeliest, the nucleus, min_p: the order of transformers.
    """
    ids, probabilities = distribution(logits_V, seen, sampling, prompt=prompt)
    # One number for each id, whatever is left to draw from: `torch.multinomial` takes one for each id that may come.
    drawn = _uniform(generator)
    if sampling.greedy:
        return int(ids[0])
    below = probabilities.double().cumsum(0)
    place, last = torch.searchsorted(below, drawn * below[-1], right=True), torch.searchsorted(below, below[-1])
    return int(ids[min(place, last)])


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), dtype=torch.float64, generator=generator))


def distribution(
    logits_V: Tensor, seen: Sequence[int], sampling: Sampling, *, prompt: int | None = None
) -> tuple[Tensor, Tensor]:
    """Ids, the likeliest first, and how likely `pick` draws each; their sum may be below 1."""
    logits_V = _adjusted(logits_V, seen, seen[len(seen) if prompt is None else prompt :], sampling)
    if bool(logits_V.max() == -math.inf):
        raise ValueError("every id is forbidden here, by logit_bias or together with the grammar; allow some")
    if sampling.greedy:
        return logits_V.argmax()[None], torch.ones(1)
    values, order = (logits_V / sampling.temperature).sort(descending=True)
    if sampling.top_k:
        values, order = values[: sampling.top_k], order[: sampling.top_k]
    probabilities = values.softmax(-1)
    beyond = probabilities.cumsum(-1) - probabilities >= sampling.top_p
    beyond |= probabilities < sampling.min_p * probabilities[0]
    beyond[0] = False  # a top_p that float32 rounds to 0 leaves the most likely one
    return order, probabilities.masked_fill(beyond, 0.0)


def _adjusted(logits_V: Tensor, seen: Sequence[int], answer: Sequence[int], sampling: Sampling) -> Tensor:
    """Logits after bias and penalties."""
    logits_V = logits_V.clone()
    if sampling.logit_bias:
        logits_V[list(sampling.logit_bias)] += torch.tensor(list(sampling.logit_bias.values()))
    if sampling.repetition_penalty != 1.0:
        ids = torch.tensor(sorted(set(seen)))
        values = logits_V[ids]
        logits_V[ids] = torch.where(
            values > 0, values / sampling.repetition_penalty, values * sampling.repetition_penalty
        )
    if answer and (sampling.presence_penalty or sampling.frequency_penalty):
        counts = Counter(answer)
        times = torch.tensor(list(counts.values()))
        logits_V[list(counts)] -= sampling.presence_penalty + sampling.frequency_penalty * times
    return logits_V
