"""An exported .pte file as ExecuTorch's own Python runtime computes it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

import numpy as np

from ayllu.release.exports.executorch import environment

FEWER = 1024
"""Tokens that it is measured on: it computes them one by one, as a phone writes, and that takes a while."""


class ExecutorchModel:
    """The file, loaded by a process of ExecuTorch's environment, which ends with the `with` block."""

    def __init__(self, file: Path, context: int) -> None:
        self.longest, self.measured = context, FEWER
        self._said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in `close`
        self._process = subprocess.Popen(
            environment.command("run", file), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
        )

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """(T, V) after each of `ids`, computed one by one."""
        return self._ask({"ids": list(ids)})

    def last(self, ids: Sequence[int], at: int = 0) -> np.ndarray:
        """(V) after the last of `ids`, which are computed at once; the first stands at `at`, behind those before it."""
        return cast(np.ndarray, self._ask({"ids": list(ids), "at": at, "last": True})[0])

    def _ask(self, asked: dict[str, Any]) -> np.ndarray:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
            head = self._process.stdout.readline()
        except BrokenPipeError:
            head = b""
        if not head:
            self._said.seek(0)
            raise ValueError(f"ExecuTorch's runtime ended: {environment.last_line(self._said.read())}")
        shape = json.loads(head)
        numbers = self._process.stdout.read(4 * shape["rows"] * shape["columns"])
        return np.frombuffer(numbers, np.float32).reshape(shape["rows"], shape["columns"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> ExecutorchModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
