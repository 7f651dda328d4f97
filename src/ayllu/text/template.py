"""Chat templates of others: Jinja programs, rendered in a sandbox and within bounds of time, memory and output.

Source of the environment and of the variables: `apply_chat_template` in transformers.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from ayllu.text import template_worker


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What rendering one conversation may take."""

    seconds: float = 10.0
    memory: int = 1 << 30
    """Bytes of addresses of the process that renders, its own 100 MB with them."""
    characters: int = 20_000_000
    """Of the text: a loop that writes without end stops here."""
    template: int = 1_000_000
    """Characters of the template itself; those of released models have at most some 20,000."""


LIMITS = Limits()
FIXED_DAY = datetime(2024, 7, 26)
"""The date that training and measuring show to a template, so that a conversation has the same text on every day. It is
the one that Llama 3.1's own template has for whoever tells it none."""


def render_text(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    special: Mapping[str, str],
    tools: Sequence[Mapping[str, Any]] = (),
    reply: bool,
    now: datetime | None = None,
    marks: tuple[str, str] = ("", ""),
    limits: Limits = LIMITS,
) -> str:
    """The text that `template` makes of `messages`; `special` are names such as `bos_token` with their tokens.

    `strftime_now` gives the date `now`, or today's; `marks` go around what stands in `{% generation %}`. Raises
    ValueError with one clause when the template refuses the messages, is no template, tries what the sandbox forbids,
    or takes more than `limits`.
    """
    variables = {
        **special,
        "messages": list(messages),
        "tools": list(tools) or None,
        "documents": None,
        "add_generation_prompt": reply,
    }
    request = {
        "do": "render",
        "variables": variables,
        "now": (now or datetime.now()).isoformat(),
        "marks": marks,
        "longest": limits.characters,
    }
    return str(_ask(template, request, limits)["text"])


def knows_tools(template: str) -> bool:
    """Whether the template itself writes definitions of tools, and so calls. Raises ValueError when it is none."""
    return "tools" in _names(template)


@lru_cache(maxsize=32)
def _names(template: str) -> frozenset[str]:
    return frozenset(_ask(template, {"do": "names"}, LIMITS)["names"])


def _ask(template: str, request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    if len(template) > limits.template:
        raise ValueError(
            f"the chat template has {len(template):,} characters; at most {limits.template:,} can be rendered"
        )
    line = json.dumps({**request, "template": template}, default=str)
    found = _worker(limits.memory).ask(line, limits.seconds)
    if "error" in found:
        raise ValueError(f"the chat template {found['error']}")
    return found


class _Worker:
    """The process that renders: one for all templates, started when it is first needed and again after it was ended."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, line: str, seconds: float) -> dict[str, Any]:
        """The answer to one request; what takes longer than `seconds` is ended with the process."""
        with self._lock:
            for last in (False, True):
                process = self._running()
                late = threading.Event()

                def end(late: threading.Event = late, process: subprocess.Popen[str] = process) -> None:
                    late.set()
                    process.kill()

                timer = threading.Timer(seconds, end)
                timer.daemon = True
                timer.start()
                try:
                    found = self._exchange(process, line)
                finally:
                    timer.cancel()
                if late.is_set():
                    self.close()
                    return {"error": f"takes longer than {seconds:g} seconds"}
                if found:
                    return dict(json.loads(found))
                self.close()
                # A process that somebody else ended is started once more; a template that ends it is not tried thrice.
                if last:
                    break
            return {"error": "ended the process that renders it: it may need more memory than it may have"}

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                # What was still to be written has no reader any more.
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            # -P: the folder of the program holds modules of ours with common names, which nothing there should find.
            command = [sys.executable, "-P", inspect.getfile(template_worker.main), str(self._memory)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="ascii",
            )
        return self._process

    def _exchange(self, process: subprocess.Popen[str], line: str) -> str:
        """The answer, or "" where the process has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return process.stdout.readline()
        except (OSError, ValueError):
            return ""


_WORKERS: dict[int, _Worker] = {}
"""By the memory that each may have."""


def _worker(memory: int) -> _Worker:
    return _WORKERS.setdefault(memory, _Worker(memory))


@atexit.register
def _close_all() -> None:
    for worker in _WORKERS.values():
        worker.close()


if hasattr(os, "register_at_fork"):
    # A process that forked must not write into the pipes of the one that it came from.
    os.register_at_fork(after_in_child=_WORKERS.clear)
