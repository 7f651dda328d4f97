"""Environments of their own for programs whose requirements exclude ours: made once, on demand, under the cache."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.progress import say


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What is installed in one of them; nothing of it enters ours."""

    name: str
    """Its folder's, with the version of what it is for."""
    title: str
    """What it is for, in sentences."""
    packages: Sequence[str]
    """Each at one version, with what those bring."""
    alone: Sequence[str] = ()
    """Each at one version, without what they ask for: it is among the `packages` as far as it is needed."""

    def python(self, cache: Path) -> Path:
        """Its interpreter, made when it is not there. UserError where that fails."""
        folder = cache / "environments" / self.name
        python, done = folder / "bin" / "python", folder / "packages.txt"
        wanted = "\n".join((*self.packages, *self.alone))
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with (folder.parent / f".{self.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not done.is_file() or done.read_text() != wanted:
                    self._make(folder, python)
                    done.write_text(wanted)
        except OSError as error:
            raise UserError(
                f"cannot write {folder} ({error.strerror or error}): free the disk or set AYLLU_CACHE"
            ) from error
        return python

    def _make(self, folder: Path, python: Path) -> None:
        names = ", ".join((*self.packages, *self.alone))
        say(f"making an environment for {self.title} in {folder}: {names}, and what they need")
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        self._run([sys.executable, "-m", "venv", "--clear", str(folder)])
        self._run([*pip, *self.packages])
        if self.alone:
            self._run([*pip, "--no-deps", *self.alone])

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            said = next((line for line in lines if line.startswith("ERROR")), (lines or ["nothing was said"])[-1])
            raise UserError(
                f"the environment for {self.title} cannot be made ({said}): check the network and try again"
            )
