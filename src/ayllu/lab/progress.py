"""Progress of long work on stderr: what is done, at which rate, and how long it still takes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TextIO, TypeVar

from ayllu.lab.visible import visible

Item = TypeVar("Item")

LINE_SECONDS = 10.0
"""Where stderr is no terminal, and into a file, a line is written this often."""

_files: list[TextIO] = []
"""What is said is written down there, too."""


class Bar:
    """One piece of work under way: a live line on a terminal, a line every ten seconds elsewhere.

    Work shorter than `delay` seconds shows nothing where stderr is no terminal.
    """

    def __init__(self, title: str, *, total: float | None, unit: str, delay: float = 2.0, shown: bool = True) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0.0
        self._note = ""
        self._start = self._drawn = self._written = time.monotonic()
        self._first = 0.0
        self._warm: tuple[float, float] | None = None
        """When the first units were done, and how many: what they took says little of the others."""
        self._delay = delay
        self._terminal = sys.stderr.isatty() and shown
        self._silent = not shown
        self._shown = False

    def begin_at(self, done: float) -> None:
        """Say that `done` units were there before this process started: they do not count in the rate."""
        self.done = self._first = done

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        """Count `amount` more units as done; `note` replaces the words at the end of the line."""
        self.done += amount
        if self._warm is None:
            self._warm = (time.monotonic(), self.done)
        if note is not None:
            self._note = note
        now = time.monotonic()
        if not self._silent and now - self._drawn >= (0.1 if self._terminal else LINE_SECONDS):
            self._drawn = now
            self._draw()
        if not self._silent and now - self._written >= LINE_SECONDS:
            self._written = now
            _write_down(f"{self.line()}\n")

    def line(self) -> str:
        """The state in words, such as `pretrain 42 % · 1,300/3,100 steps · 5.1 steps/s · 05:53 left`."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = (self.done - self._first) / elapsed
        parts = [self.title]
        if self.total:
            parts[0] += f" {100 * self.done / self.total:.0f} %"
            parts.append(f"{self.done:,.0f}/{self.total:,.0f} {self.unit}")
        else:
            parts.append(f"{self.done:,.0f} {self.unit}")
        parts.append(f"{rate:,.1f} {self.unit}/s" if rate < 100 else f"{rate:,.0f} {self.unit}/s")
        left = self._left()
        if left is not None:
            parts.append(f"{clock(left)} left")
        if self._note:
            parts.append(self._note)
        return visible(" · ".join(parts))

    def _left(self) -> float | None:
        """Seconds, by the pace since the first units were done; None while nothing has followed them."""
        if not self.total or self.done >= self.total or self._warm is None or self.done <= self._warm[1]:
            return None
        began, first = self._warm
        return (self.total - self.done) * max(time.monotonic() - began, 1e-9) / (self.done - first)

    def _draw(self) -> None:
        self._shown = True
        _narrate(f"\r\x1b[K{self.line()}" if self._terminal else f"{self.line()}\n")

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        elapsed = time.monotonic() - self._start
        if not self._silent and (self._shown or self._terminal or elapsed > self._delay):
            self._draw()
            _narrate(f" · {clock(elapsed)}\n" if self._terminal else "")
        if not self._silent and (self._written > self._start or elapsed > self._delay):
            _write_down(f"{self.line()} · {clock(elapsed)}\n")


def bar(title: str, *, total: float | None = None, unit: str = "items", shown: bool = True) -> Bar:
    """A progress bar to be used in a `with` block and moved by `advance`; one that is not `shown` only counts."""
    return Bar(title, total=total, unit=unit, shown=shown)


def track(items: Iterable[Item], title: str, *, total: float | None = None, unit: str = "items") -> Iterator[Item]:
    """Yield `items` while a bar counts them."""
    with bar(title, total=total, unit=unit) as progress:
        for item in items:
            yield item
            progress.advance()


def say(*lines: str) -> None:
    """Narration on stderr: each of `lines` is one line, whatever a file has put into it."""
    text = "".join(f"{visible(line)}\n" for line in lines)
    _narrate(text)
    _write_down(text)


@contextlib.contextmanager
def written_down(path: Path) -> Iterator[None]:
    """Write what is said meanwhile into a file, too. A disk on which that cannot be ends no work."""
    file = None
    with contextlib.suppress(OSError):
        file = path.open("a", encoding="utf-8", errors="backslashreplace")
        _files.append(file)
    try:
        yield
    finally:
        if file is not None:
            _files.remove(file)
            with contextlib.suppress(OSError):  # what a full disk has not taken
                file.close()


def _narrate(text: str) -> None:
    """Write to stderr; work does not end because nobody can hear of it: a log on a full disk, a reader that left."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _write_down(text: str) -> None:
    for file in tuple(_files):
        with contextlib.suppress(OSError, ValueError):  # or another thread has just closed it
            file.write(text)
            file.flush()


def clock(seconds: float) -> str:
    """Seconds as `mm:ss`, or `h:mm:ss` from an hour on."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"
