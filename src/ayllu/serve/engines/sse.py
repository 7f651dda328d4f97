"""The events of another server's stream, as they come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

DATA, DONE = b"data: ", b"[DONE]"


def events(parts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a body of server-sent events; RuntimeError where one of them says that something failed."""
    for line in lines(parts):
        if line.startswith(DATA) and (data := line.removeprefix(DATA).strip()) != DONE:
            event = json.loads(data)
            if "error" in event:
                raise RuntimeError(f"the engine's server failed: {event['error']}")
            yield event


def lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a body. Only a line feed ends one: U+2028 and its like are characters of the text."""
    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        yield from whole
    yield rest
