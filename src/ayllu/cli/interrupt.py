"""What Ctrl-C does: a file of its own, for the program needs it before it loads any command."""

from __future__ import annotations

import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPTED = 130
"""The exit code of what Ctrl-C has stopped."""
AGAIN = "ayllu: interrupted; start it again to go on"


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, but the first Ctrl-C ends also what does not await, such as the loading of a model.

    asyncio's own handler only cancels the task, which it sees when it awaits again: a minute later, perhaps.
    """
    import asyncio

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # asyncio leaves a handler alone that is not the usual one; an ignored signal stays ignored.
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, end)
    try:
        return asyncio.run(work)
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
