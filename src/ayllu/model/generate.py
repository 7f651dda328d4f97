"""Text out of a model, one token at a time.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import torch
from torch import Tensor

from ayllu.model.transformer import Cache, Transformer

COLDEST = 1e-3
"""A temperature below this is 0: to divide by it would overflow."""


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
        # Written so that NaN, which no comparison holds for, is refused too.
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature is {self.temperature}; it must be a number from 0 on")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if not 0 <= self.top_k < 2**31:
            raise ValueError(f"top_k is {self.top_k}; it must be from 0 to 2^31 - 1")
        if not 0.01 <= self.repetition_penalty <= 100:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}; it must be from 0.01 to 100")
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be from -2^63 to 2^63 - 1")

    @property
    def greedy(self) -> bool:
        """Whether always the most likely token is taken."""
        return self.temperature < COLDEST


GREEDY = Sampling(temperature=0.0)
_NOT_DONE: dict[str, Any] = {
    "num_beams": 1,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "guidance_scale": 1.0,
    "penalty_alpha": 0.0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "sequence_bias": None,
    "exponential_decay_length_penalty": None,
    "stop_strings": None,
}
"""What transformers can do with a draw and is not done here, each with the value that changes nothing."""


def recommended_sampling(settings: Mapping[str, Any]) -> tuple[Sampling, list[str]]:
    """How `generation_config.json` recommends to draw tokens, and in one clause each what it says and is not done.

    A bad value leaves the others as they are; `do_sample: false` takes the most likely token.
    """
    found, left_out = Sampling(), []
    for name in ("temperature", "top_p", "top_k", "repetition_penalty"):
        value = settings.get(name)
        if value is None:
            continue
        try:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError
            if name == "top_k" and value != int(value):
                raise ValueError
            changed: dict[str, Any] = {name: int(value) if name == "top_k" else value}
            found = replace(found, **changed)
        except (ValueError, TypeError, OverflowError):
            left_out.append(f"{name} is {_shown(value)}, which no distribution has")
    if settings.get("do_sample") is False:
        found = replace(found, temperature=0.0)
    for name, nothing in _NOT_DONE.items():
        if settings.get(name) not in (None, nothing, [], {}):
            left_out.append(f"{name} is {_shown(settings[name])}, which is not done here")
    return found, left_out


def _shown(value: Any) -> str:
    """A setting as a file says it, but no pages of it."""
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


@overload
def generate(
    model: Transformer,
    ids: Sequence[int],
    *,
    tokens: int,
    stop: frozenset[int] = ...,
    sampling: Sampling = ...,
    piece: None = None,
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
) -> Iterator[int | None]:
    """Yield up to `tokens` ids that continue `ids`; ends before an id of `stop` and where the model's context is full.

    With `piece` the ids given are read so many at a time, and None is yielded after each piece but the last, so that
    the caller can stop there. Raises ValueError when `ids` is empty or does not fit into the context.
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
    generator = torch.Generator(device="cpu")
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    seen = list(ids)
    size = piece or len(seen)
    last = (len(seen) - 1) // size * size
    for start in range(0, last, size):
        model.hidden(torch.tensor([seen[start : start + size]], device=weight.device), cache=cache, dtype=weight.dtype)
        yield None
    fresh = torch.tensor([seen[last:]], device=weight.device)
    for _ in range(tokens):
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
    if sampling.greedy:
        return int(logits_V.argmax())
    values, order = (logits_V / sampling.temperature).sort(descending=True)
    if sampling.top_k:
        values, order = values[: sampling.top_k], order[: sampling.top_k]
    probabilities = values.softmax(-1)
    beyond = probabilities.cumsum(-1) - probabilities >= sampling.top_p
    beyond[0] = False  # a top_p that float32 rounds to 0 leaves the most likely one
    probabilities = probabilities.masked_fill(beyond, 0.0)
    return int(order[torch.multinomial(probabilities, 1, generator=generator)])
