"""stdin, stdout and stderr as the shell left them: closed, full, broken, or in another encoding than UTF-8."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import locale
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

AGAIN = "AYLLU_IN_UTF8"
"""Set in a process that was started again in UTF-8 mode."""


def use_utf8() -> None:
    """Start this process again in Python's UTF-8 mode, where the locale is one that has no word for most letters.

    Names of files, texts of files without a stated encoding and what is printed are all read from the locale, by
    libraries too, and only at the start (PEP 540). The process keeps its number; an option of Python's own beats
    PYTHONUTF8=0.
    """
    utf8 = sys.flags.utf8_mode or locale.getencoding().lower().replace("-", "") == "utf8"
    if utf8 or AGAIN in os.environ or not sys.executable:
        return
    os.environ[AGAIN] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def open_closed() -> None:
    """Fill the places of closed streams: else the next file that is opened would take the number of one, and be written
    into by a library that prints."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    sys.stdout = _Stdout(sys.stdout)
    atexit.register(_let_go_of_stderr)


def _let_go_of_stderr() -> None:
    """What stderr has not taken goes nowhere: else the interpreter tries once more at its end, and exits with 120."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def flush() -> None:
    """Write what is buffered for stdout now, where an error can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def stdout_problem() -> str | None:
    """Why stdout could not be written to, in the system's words; None where it could."""
    return sys.stdout.problem if isinstance(sys.stdout, _Stdout) else None


def let_go_of_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not complain about it at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Stdout(io.TextIOWrapper):
    """stdout that remembers why it could not be written to: an error of it looks like one of any file."""

    def __init__(self, before: TextIO | None) -> None:
        """`before` is the stream as Python opened it, None for one that was closed from the start."""
        self.problem = None if before else os.strerror(errno.EBADF)
        super().__init__(
            open(before.fileno() if before else 1, "wb", closefd=False),  # noqa: SIM115
            encoding=before.encoding if before else "utf-8",
            # A name of a file may hold bytes that are no text, and a stated encoding may lack most letters.
            errors="backslashreplace",
            line_buffering=before is not None and before.isatty(),
        )

    def write(self, text: str, /) -> int:
        if self.problem:
            raise OSError(errno.EBADF, self.problem)
        with self._remembered():
            return super().write(text)

    def flush(self) -> None:
        with self._remembered():
            super().flush()

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.problem = error.strerror or str(error)
            raise
