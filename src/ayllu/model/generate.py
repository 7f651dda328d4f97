"""Text out of a model, one token at a time.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ayllu.model.transformer import Cache, Transformer


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is drawn. Raises ValueError on values that no distribution has."""

    temperature: float = 0.7
    """0 takes the most likely token."""
    top_p: float = 0.95
    """Tokens beyond this cumulative probability are never drawn (nucleus sampling, arXiv:1904.09751)."""
    top_k: int = 0
    """Only this many most likely tokens can be drawn; 0 means all."""
    repetition_penalty: float = 1.0
    """Divides the positive and multiplies the negative logits of ids already seen (CTRL, arXiv:1909.05858)."""
    seed: int | None = None
    """None draws differently each time."""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}; it must be 0 or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}; it must be 0 or more")
        if self.repetition_penalty <= 0:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}; it must be above 0")


GREEDY = Sampling(temperature=0.0)


@torch.inference_mode()
def generate(
    model: Transformer,
    ids: Sequence[int],
    *,
    tokens: int,
    stop: frozenset[int] = frozenset(),
    sampling: Sampling = GREEDY,
) -> Iterator[int]:
    """Yield up to `tokens` ids that continue `ids`; ends before an id of `stop` and where the model's context is full.

    Raises ValueError when `ids` is empty or does not fit into the context.
    """
    if not ids:
        raise ValueError("there is nothing to continue: give at least one id")
    room = model.config.context - len(ids)
    if room < 0:
        raise ValueError(f"the prompt has {len(ids)} tokens; the model's context holds {model.config.context}")
    weight = model.embedding.weight
    capacity = len(ids) + min(tokens, room)
    cache = Cache(model.config, batch=1, capacity=capacity, dtype=weight.dtype, device=weight.device)
    generator = torch.Generator(device="cpu")
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    seen = list(ids)
    fresh = torch.tensor([seen], device=weight.device)
    for _ in range(min(tokens, room)):
        state_BTD = model.hidden(fresh, cache=cache, dtype=weight.dtype)
        logits_V = model.output(state_BTD[:, -1])[0].float().cpu()
        chosen = pick(logits_V, seen, sampling, generator)
        if chosen in stop:
            return
        yield chosen
        seen.append(chosen)
        fresh = torch.tensor([[chosen]], device=weight.device)


def pick(logits_V: Tensor, seen: Sequence[int], sampling: Sampling, generator: torch.Generator) -> int:
    """Draw one id from `logits_V` (float32, on the CPU)."""
    if sampling.repetition_penalty != 1.0:
        ids = torch.tensor(sorted(set(seen)))
        values = logits_V[ids]
        logits_V = logits_V.clone()
        logits_V[ids] = torch.where(
            values > 0, values / sampling.repetition_penalty, values * sampling.repetition_penalty
        )
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    values, order = (logits_V / sampling.temperature).sort(descending=True)
    if sampling.top_k:
        values, order = values[: sampling.top_k], order[: sampling.top_k]
    probabilities = values.softmax(-1)
    beyond = probabilities.cumsum(-1) - probabilities >= sampling.top_p
    probabilities = probabilities.masked_fill(beyond, 0.0)
    return int(order[torch.multinomial(probabilities, 1, generator=generator)])
