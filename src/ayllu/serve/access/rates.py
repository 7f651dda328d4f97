"""How much a key may ask for: token buckets by the minute, and a quota by the day.

Tokens are paid when they are computed, so that nobody guesses how long an answer will be: a bucket may go into debt,
and the next request waits until that is paid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ayllu.serve.access.keys import Key

LONGEST_RETRY = 120
"""Seconds of a Retry-After: above that the official client does not try again at all."""
DAY = 86_400


@dataclass(slots=True)
class Bucket:
    """Refills by `per_minute` in a minute, and holds no more than that; `level` is below 0 while there is a debt."""

    per_minute: int
    level: float
    filled: float

    def fill(self, now: float) -> None:
        """Add what the time since the last call brings."""
        self.level = min(float(self.per_minute), self.level + (now - self.filled) * self.per_minute / 60)
        self.filled = now

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there."""
        return max(0.0, (amount - self.level) * 60 / self.per_minute)

    def reset(self) -> float:
        """Seconds until it is full."""
        return self.wait(self.per_minute)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Why a request may not be, and in how many seconds it may; None where waiting is of no use today."""

    kind: str
    """`requests`, `tokens` or `insufficient_quota`, as OpenAI's API names the limits."""
    limit: int
    retry_after: int | None


@dataclass(slots=True)
class Allowance:
    """What one key has left."""

    requests: Bucket | None = None
    tokens: Bucket | None = None
    day: int = 0
    """Days since 1970, in UTC."""
    used: int = 0
    """Tokens on that day."""
    unsaved: list[int] = field(default_factory=lambda: [0, 0])
    """Requests and tokens that the file of the counts does not have yet."""

    def follow(self, key: Key, now: float) -> None:
        """Take the limits of `key` as they are now, and let the time since the last call pass."""
        self.requests = _bucket(self.requests, key.requests_per_minute, now)
        self.tokens = _bucket(self.tokens, key.tokens_per_minute, now)
        if (day := int(now // DAY)) != self.day:
            self.day, self.used = day, 0

    def refused(self, key: Key) -> Refused | None:
        """Why no request of `key` may be now."""
        if key.tokens_per_day is not None and self.used >= key.tokens_per_day:
            return Refused(kind="insufficient_quota", limit=key.tokens_per_day, retry_after=None)
        for kind, bucket, amount in (("requests", self.requests, 1.0), ("tokens", self.tokens, 1.0)):
            if bucket is not None and (seconds := bucket.wait(amount)) > 0:
                return Refused(kind=kind, limit=bucket.per_minute, retry_after=retry_after(seconds))
        return None

    def spend_request(self) -> None:
        """Count a request that may be."""
        self.unsaved[0] += 1
        if self.requests is not None:
            self.requests.level -= 1

    def spend_tokens(self, count: int) -> None:
        """Count tokens that were read or written."""
        self.used += count
        self.unsaved[1] += count
        if self.tokens is not None:
            self.tokens.level -= count

    def headers(self) -> dict[str, str]:
        """What OpenAI's API tells of the limits with every answer."""
        told: dict[str, str] = {}
        for kind, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket is not None:
                told[f"x-ratelimit-limit-{kind}"] = str(bucket.per_minute)
                told[f"x-ratelimit-remaining-{kind}"] = str(max(0, math.floor(bucket.level)))
                told[f"x-ratelimit-reset-{kind}"] = duration(bucket.reset())
        return told


def retry_after(seconds: float) -> int:
    """Whole seconds for a Retry-After header, which official clients obey in silence up to `LONGEST_RETRY`."""
    return min(LONGEST_RETRY, max(1, math.ceil(seconds)))


def duration(seconds: float) -> str:
    """A time as OpenAI's headers write it: 120ms, 8.64s, 6m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 2), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:.4g}s"


def _bucket(bucket: Bucket | None, per_minute: int | None, now: float) -> Bucket | None:
    if per_minute is None:
        return None
    if bucket is None or bucket.per_minute != per_minute:
        return Bucket(per_minute, float(per_minute), now)
    bucket.fill(now)
    return bucket
