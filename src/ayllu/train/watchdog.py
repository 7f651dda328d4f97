"""A process that hangs is found, shows where it hung, and ends so that torchrun or the scheduler starts it again."""

from __future__ import annotations

import faulthandler
from pathlib import Path
from typing import IO

from ayllu.lab.progress import say


class Watchdog:
    """Ends the process (exit code 1) once `seconds` pass without a call of `step_begins`.

    It works from outside the interpreter, so a collective that holds Python's lock does not stop it. The stacks of all
    threads go to `hang-rank-N.txt` in `folder`: ranks that hang together would mix their lines on one stderr. Without
    a folder they go to stderr.
    """

    def __init__(self, seconds: float, folder: Path | None, rank: int) -> None:
        self._seconds = seconds
        self._file: IO[bytes] | int = 2
        self._path: Path | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._path = folder / f"hang-rank-{rank}.txt"
            self._file = self._path.open("ab")
            if self._path.stat().st_size:
                say(f"rank {rank} hung before and was started again; its stacks are in {self._path}")
        self.step_begins()

    def step_begins(self) -> None:
        """Count from now."""
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._file)

    def close(self) -> None:
        """Watch no longer; a file that nothing was written to goes."""
        faulthandler.cancel_dump_traceback_later()
        if self._path is not None and not isinstance(self._file, int):
            self._file.close()
            if not self._path.stat().st_size:
                self._path.unlink()
