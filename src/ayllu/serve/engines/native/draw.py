"""The next id of an answer, drawn by pick.c from a row of logits."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from ayllu.serve.engines.engine import DrawnToken
from ayllu.serve.engines.native.library import Candidate, Draw
from ayllu.serve.engines.native.scheduler import Answer

NO_NUMBERS, ALL_FORBIDDEN = -1, -2


class Picker:
    """Draws for a model of so many ids."""

    def __init__(self, library: ctypes.CDLL, vocabulary: int) -> None:
        self._library, self._vocabulary = library, vocabulary
        self._among = np.empty(2 * vocabulary, dtype=np.float32)

    def pick(self, logits_V: NDArray[np.float32], answer: Answer) -> int | DrawnToken:
        """The next id, with its log-probability where `answer` wants it. `logits_V` is another thing afterwards.

        Raises ValueError where the logits are no numbers (weights or activations were too large, or the weights are
        damaged), and where every id is forbidden.
        """
        if answer.logprobs is None:
            return self._draw(logits_V, answer)
        own_V = logits_V[: self._vocabulary].copy()
        return self.told(own_V, self._draw(logits_V, answer), answer.logprobs)

    def told(self, logits_V: NDArray[np.float32], token: int, count: int) -> DrawnToken:
        """How likely `token` is by `logits_V`, and the `count` likeliest ids."""
        found = (Candidate * max(count, 1))()
        whole = float(self._library.native_likeliest(logits_V.ctypes.data, self._vocabulary, count, found))
        top = [(one.id, one.probability - whole) for one in found[: min(count, self._vocabulary)]]
        return DrawnToken(id=token, logprob=float(logits_V[token]) - whole, top=top)

    def _draw(self, logits_V: NDArray[np.float32], answer: Answer) -> int:
        sampling = answer.sampling
        counts = sampling.repetition_penalty != 1.0 or sampling.presence_penalty or sampling.frequency_penalty
        seen = np.array(answer.ids if counts else [], dtype=np.int32)
        biased = np.array(list(sampling.logit_bias), dtype=np.int32)
        bias = np.array(list(sampling.logit_bias.values()), dtype=np.float32)
        allowed = None if answer.constraint is None else answer.constraint.allowed().view(np.uint8)
        draw = Draw(
            sampling.temperature,
            sampling.top_p,
            sampling.min_p,
            sampling.repetition_penalty,
            sampling.presence_penalty,
            sampling.frequency_penalty,
            sampling.top_k,
            answer.chance.random(),
            seen.ctypes.data,
            len(seen),
            answer.prompt - answer.written,
            biased.ctypes.data,
            bias.ctypes.data,
            len(biased),
            None if allowed is None else allowed.ctypes.data,
        )
        token = int(
            self._library.native_pick(
                logits_V.ctypes.data, self._vocabulary, ctypes.byref(draw), self._among.ctypes.data
            )
        )
        if token == NO_NUMBERS:
            raise ValueError("the model computes no numbers here (NaN or infinity); try more bits or another engine")
        if token == ALL_FORBIDDEN:
            raise ValueError("every id is forbidden here, by logit_bias or together with the grammar; allow some")
        return token
