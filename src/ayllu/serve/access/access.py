"""Who may ask for what now: keys, scopes, rates and quotas put together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.serve.access.keys import Key, KeyStore
from ayllu.serve.access.rates import DAY, Allowance, Refused
from ayllu.serve.access.usage import UsageFile
from ayllu.serve.errors import ApiError

OPEN = ("/", "/glasses", "/health", "/ready", "/static")
"""Paths that need no key: the page itself, which asks for one, and whether the server is well."""
SCOPES = {
    "/metrics": "metrics",
    "/card": "models",
    "/v1/models": "models",
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "embeddings",
    "/v2/rerank": "embeddings",
    "/rerank": "embeddings",
    "/v1/files": "files",
    "/v1/uploads": "files",
    "/v1/vector_stores": "files",
    "/v1/audio": "audio",
}
"""Scope by the beginning of the path; all other paths need `generate`."""
REPEATED = 'the header is "Authorization: Bearer KEY", or "x-api-key: KEY"'


class Access:
    """Finds the key of a request, and counts what it uses.

    Keys are asked for when `required`, and from the moment that there is one in the home until the server ends: that
    all were revoked opens nothing.
    """

    def __init__(self, home: Path, *, required: bool, clock: Callable[[], float] = time.time) -> None:
        self.keys, self._usage = KeyStore(home), UsageFile(home)
        self._required, self._clock = required, clock
        self._allowances: dict[str, Allowance] = {}
        self._tasks: dict[Key, set[asyncio.Task[object]]] = defaultdict(set)
        self._ended: set[asyncio.Task[object]] = set()

    @property
    def required(self) -> bool:
        """Whether a key is asked for."""
        self._required = self._required or self.keys.configured()
        return self._required

    def find(self, path: str, headers: Mapping[str, str]) -> Key | None:
        """The key of a request, None where it needs none; ApiError where it may not be."""
        if is_below(path, OPEN):
            return None
        try:
            if not self.required:
                return None
            text = _given(headers)
            key = self.keys.find(text) if text else None
        except UserError as error:
            raise ApiError(503, "the keys of this server cannot be read; its log says why") from error
        if key is None:
            raise _unknown("this server needs a key" if not text else "the key is not one of this server's")
        if (state := key.state(self._clock())) != "valid":
            raise _unknown(f"the key {key.name!r} is {state}")
        if (scope := scope_of(path)) not in key.scopes:
            raise ApiError(403, f"the key {key.name!r} is not for {scope}", code="insufficient_scope")
        return key

    def admit(self, key: Key) -> dict[str, str]:
        """Count a request of `key`; gives the headers that tell what is left. ApiError where nothing is."""
        allowance = self._allowance(key)
        if (refused := allowance.refused(key)) is not None:
            raise _too_much(key, refused, allowance.headers())
        allowance.spend_request()
        return allowance.headers()

    def spender(self, key: Key) -> Callable[[int], None]:
        """What counts tokens of `key`."""
        return lambda tokens: self._allowance(key).spend_tokens(tokens)

    @contextlib.contextmanager
    def watching(self, key: Key) -> Iterator[None]:
        """End the task that is running when `key` is revoked or expires in the meantime."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[key].add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._ended:
                raise
            task.uncancel()
        finally:
            self._ended.discard(task)
            self._tasks[key].discard(task)
            if not self._tasks[key]:
                del self._tasks[key]

    def look(self) -> None:
        """End what is under way for keys that are none any more, and keep what was used; called every second."""
        now = self._clock()
        with contextlib.suppress(UserError):  # said to whoever asks next
            for key, tasks in list(self._tasks.items()):
                found = self.keys.current(key)
                if found is None or found.state(now) != "valid":
                    for task in tasks - self._ended:
                        self._ended.add(task)
                        task.cancel()
        self.save()

    def save(self) -> None:
        """Keep what was used since the last time."""
        counts = {}
        for name, allowance in self._allowances.items():
            if any(allowance.unsaved):
                counts[name, allowance.day] = (allowance.unsaved[0], allowance.unsaved[1])
                allowance.unsaved[:] = [0, 0]
        self._usage.add(counts)

    def close(self) -> None:
        """Keep what was used, and let go of the files."""
        self.save()
        self._usage.close()

    def _allowance(self, key: Key) -> Allowance:
        now = self._clock()
        if (allowance := self._allowances.get(key.id)) is None:
            day = int(now // DAY)
            allowance = self._allowances[key.id] = Allowance(day=day, used=self._usage.used(key.id, day))
        allowance.follow(key, now)
        return allowance


def is_below(path: str, beginnings: tuple[str, ...]) -> bool:
    """Whether `path` is one of `beginnings` or in it."""
    return any(path == begin or (begin != "/" and path.startswith(f"{begin}/")) for begin in beginnings)


def scope_of(path: str) -> str:
    """What a key must be for to ask for `path`."""
    return next((scope for begin, scope in SCOPES.items() if is_below(path, (begin,))), "generate")


def _given(headers: Mapping[str, str]) -> str:
    kind, _, text = headers.get("authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" and text.strip() else headers.get("x-api-key", "").strip()


def _unknown(what: str) -> ApiError:
    return ApiError(
        401, f"{what}: {REPEATED}", code="invalid_api_key", headers={"WWW-Authenticate": 'Bearer realm="ayllu"'}
    )


def _too_much(key: Key, refused: Refused, headers: Mapping[str, str]) -> ApiError:
    if refused.retry_after is None:
        return ApiError(
            429,
            f"the key {key.name!r} has used its {refused.limit:,} tokens of today (UTC)",
            kind=refused.kind,
            code=refused.kind,
            headers={**headers, "x-should-retry": "false"},
        )
    return ApiError(
        429,
        f"the key {key.name!r} may use {refused.limit:,} {refused.kind} a minute; "
        f"try again in {refused.retry_after} seconds",
        kind=refused.kind,
        code="rate_limit_exceeded",
        headers={**headers, "Retry-After": str(refused.retry_after)},
    )
