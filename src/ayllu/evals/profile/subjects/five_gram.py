"""A 5-gram model over bytes: what the form of questions and answers gives away without understanding any."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

ORDER = 5
"""Bytes that are looked at: four before and the one that comes."""
END = 10
"""The byte that ends an answer: a new line."""


class FiveGram:
    """P(byte | four before), interpolated down to the uniform one (Witten and Bell 1991, IEEE Trans. Inf. Th. 37:1085).

    lambda = seen / (seen + kinds) at each length of context.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        data = [text.encode() for text in texts]
        self._following: list[dict[bytes, dict[int, int]]] = [{} for _ in range(ORDER)]
        for length, following in enumerate(self._following):
            grams: Counter[bytes] = Counter()
            for each in data:
                grams.update([each[place - length : place + 1] for place in range(length, len(each))])
            for gram, count in grams.items():
                following.setdefault(gram[:-1], {})[gram[-1]] = count
        self._totals = [{c: (sum(n.values()), len(n)) for c, n in level.items()} for level in self._following]
        self._likeliest: dict[bytes, int] = {}

    def probability(self, context: bytes, byte: int) -> float:
        """P(byte) behind a context."""
        p = 1 / 256
        for length in range(min(ORDER - 1, len(context)) + 1):
            known = context[len(context) - length :]
            if (counts := self._following[length].get(known)) is None:
                break
            seen, kinds = self._totals[length][known]
            p = (counts.get(byte, 0) + kinds * p) / (seen + kinds)
        return p

    def log_likelihood(self, context: str, text: str) -> float:
        """Natural log of P(text | context)."""
        before, data = context.encode(), text.encode()
        whole = before + data
        places = range(len(before), len(whole))
        return sum(math.log(self.probability(whole[max(0, i - ORDER + 1) : i], whole[i])) for i in places)

    def continue_text(self, context: str, most: int) -> str:
        """The likeliest byte again and again, up to the end of the line."""
        data = bytearray(context.encode()[-ORDER + 1 :])
        start = len(data)
        while len(data) - start < most and (byte := self._next(bytes(data[-ORDER + 1 :]))) != END:
            data.append(byte)
        return data[start:].decode(errors="replace")

    def _next(self, context: bytes) -> int:
        """The likeliest byte, of equals the lowest: one of those that followed the longest known end of the context."""
        if context not in self._likeliest:
            lengths = range(len(context), -1, -1)
            known = next(c for length in lengths if (c := context[len(context) - length :]) in self._following[length])
            candidates = sorted(self._following[len(known)][known])
            self._likeliest[context] = max(candidates, key=lambda byte: self.probability(context, byte))
        return self._likeliest[context]
