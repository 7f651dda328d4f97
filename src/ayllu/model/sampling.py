"""How the next token is drawn: the settings, and what may restrict the draw. Knows nothing of tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ayllu.model.draw_settings import RANGES, unfit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLDEST = 1e-3
"""A temperature below this is 0: to divide by it would overflow."""


class TokenBias(Mapping[int, float]):
    """What is added to the logit of each id. It cannot be changed, so that it has a hash."""

    def __init__(self, given: Mapping[int, float] | None = None) -> None:
        self._values = dict(sorted((given or {}).items()))

    def __getitem__(self, token: int) -> float:
        return self._values[token]

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return f"TokenBias({self._values})"


NO_BIAS = TokenBias()


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
    min_p: float = 0.0
    """Tokens less likely than this share of the likeliest are never drawn (arXiv:2407.01082), after the temperature."""
    presence_penalty: float = 0.0
    """Taken from the logits of ids that the answer has already, the prompt aside, as OpenAI's API defines it."""
    frequency_penalty: float = 0.0
    """The same, as often as the answer has the id."""
    logit_bias: Mapping[int, float] = NO_BIAS
    """Added to the logits of these ids, before all else; -inf forbids an id."""
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
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p is {self.min_p}; it must be from 0 to 1")
        for name in ("presence_penalty", "frequency_penalty"):
            if not -100 <= getattr(self, name) <= 100:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from -100 to 100")
        for token, bias in self.logit_bias.items():
            if token < 0 or not bias < math.inf:
                raise ValueError(f"logit_bias gives {bias} to the id {token}; it needs ids from 0 on and numbers")
        object.__setattr__(self, "logit_bias", TokenBias(self.logit_bias))
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be from -2^63 to 2^63 - 1")

    @property
    def greedy(self) -> bool:
        """Whether always the most likely token is taken."""
        return self.temperature < COLDEST


GREEDY = Sampling(temperature=0.0)


def recommended_sampling(settings: Mapping[str, Any]) -> tuple[Sampling, list[str]]:
    """How `generation_config.json` recommends to draw tokens, and in one clause each what it says and is not done.

    A bad value leaves the others as they are; `do_sample: false` takes the most likely token.
    """
    left_out = unfit(settings)
    fit = {name: settings[name] for name in RANGES if settings.get(name) is not None and name not in left_out}
    if "top_k" in fit:
        fit["top_k"] = int(fit["top_k"])
    found = Sampling(**fit)
    if settings.get("do_sample") is False:
        found = replace(found, temperature=0.0)
    return found, list(left_out.values())


class Constraint(Protocol):
    """What restricts the ids of an answer, one after the other."""

    @property
    def ended(self) -> bool:
        """Whether nothing may follow."""
        ...

    def allowed(self) -> NDArray[np.bool_]:
        """Which ids may come next, (V)."""
        ...

    def advance(self, token: int) -> None:
        """Go on behind `token`, which was allowed."""
        ...
