"""Expressions and a few lines of glue in pydantic-monty, a small Python without files, network and libraries.

It starts in milliseconds, where a sandbox of bubblewrap takes a tenth of a second. It is not CPython: there are no
generators, most of the standard library is missing, and `round(2.675, 2)` is 2.68 (version 1.4).
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
import time
from collections.abc import Mapping
from typing import Any

from ayllu.sandbox.outcome import NoSandbox, Outcome, Status

MOST_PRINTED = 64 << 10
STOPPED: Mapping[str, Status] = {"TimeoutError": "time", "MemoryError": "memory"}
_lock = threading.Lock()
_pool: Any = None


def installed() -> bool:
    """Whether it can be used here."""
    return importlib.util.find_spec("pydantic_monty") is not None


def evaluate(
    code: str, *, variables: Mapping[str, Any] | None = None, seconds: float = 2.0, memory_mib: int = 64
) -> Outcome:
    """Run `code` with plain values as `variables`; the value of its last expression is in `value`. Raises NoSandbox."""
    pool = _started()
    import pydantic_monty

    printed: list[str] = []
    limits = {"max_feed_duration_secs": seconds, "max_memory": memory_mib << 20}
    began = time.monotonic()
    status: Status = "ok"
    value = error = None
    try:
        with pool.checkout(limits=limits) as session:
            result = session.feed_run(
                code, inputs=dict(variables or {}), print_callback=lambda stream, text: printed.append(text)
            )
        value = None if result is None else repr(result)
    except pydantic_monty.MontyError as raised:
        error = str(raised)
        status = STOPPED.get(error.partition(":")[0], "error")
    text = "".join(printed)
    cut = len(text) > MOST_PRINTED
    return Outcome(
        status=status,
        stdout=text[:MOST_PRINTED],
        value=value,
        error=error,
        notes=(f"of the output the first {MOST_PRINTED:,} characters are kept",) if cut else (),
        seconds=time.monotonic() - began,
    )


def _started() -> Any:
    """The workers, shared by all threads and there until this process ends."""
    global _pool
    if not installed():
        raise NoSandbox("expressions need pydantic-monty, so nothing was run: pip install 'ayllu[sandbox]'")
    with _lock:
        if _pool is None:
            import pydantic_monty

            stack = contextlib.ExitStack()
            _pool = stack.enter_context(pydantic_monty.Monty())
        return _pool
