"""Files are read in a process of its own, with bounds of time and memory: what one does to its reader it does there."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

SECONDS = 120.0
"""For one file."""
MEMORY = 4 << 30
"""Bytes of address space; libraries that are loaded count too."""


class Unreadable(Exception):
    """A file without text that can be read, and why."""


class ReaderProcess:
    """Reads one file after the other; started when it is needed, and again after a file ended it."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path, name: str) -> tuple[list[tuple[str, str]], str]:
        """The pages of a file with their labels, and the sha256 of what was read. Raises Unreadable."""
        process = self._started()
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps([str(path), name]).encode() + b"\n")
            process.stdin.flush()
            told = self._answer(process)
        except (OSError, ValueError):
            self.close()
            raise Unreadable("it could not be read within the bounds of memory") from None
        if "why" in told:
            raise Unreadable(str(told["why"]))
        return [(label, text) for label, text in told["pages"]], told["digest"]

    def _answer(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert process.stdout
        text, end = bytearray(), time.monotonic() + self._seconds
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not text.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    self.close()
                    raise Unreadable(f"it took more than {self._seconds:g} seconds to read")
                part = process.stdout.read1(1 << 20)  # type: ignore[attr-defined]
                if not part:
                    raise ValueError("it ended")
                text += part
        return json.loads(text)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            command = [sys.executable, "-P", "-m", "ayllu.assistant.documents.reader_process"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:
                        continue
            self._process = None

    def __enter__(self) -> ReaderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main() -> None:
    """Take lines of JSON (path, name) from stdin; give one with pages or with the reason for each."""
    import hashlib
    import os
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer
    from ayllu.assistant.documents.reading import NoText, read

    for line in sys.stdin.buffer:
        path, name = json.loads(line)
        told: dict[str, Any]
        try:
            content = Path(path).read_bytes()
            told = {"pages": read(content, name), "digest": hashlib.sha256(content).hexdigest()}
        except NoText as error:
            told = {"why": str(error)}
        except OSError as error:
            told = {"why": f"it cannot be opened ({error.strerror})"}
        except (MemoryError, RecursionError) as error:
            told = {"why": f"it is too much to read ({type(error).__name__})"}
        answers.write(json.dumps(told).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
