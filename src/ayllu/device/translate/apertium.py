"""Apertium (https://apertium.org): rules between close languages. It is GPL and stays a process of its own."""

from __future__ import annotations

import re
import shutil
import subprocess

from ayllu.lab.error import UserError

PROGRAM, PACKAGE = "apertium", "apertium-es-pt"
SECONDS = 10


class Apertium:
    """One direction, by the name of its mode."""

    def __init__(self, mode: str) -> None:
        self.name = f"apertium {mode}"
        self._mode = mode
        program = shutil.which(PROGRAM)
        if program is None or mode not in self._run([program, "-l"], "").split():
            raise UserError(f"Spanish needs the program {PROGRAM} with {mode}: apt install {PROGRAM} {PACKAGE}")
        self._program = program

    def sentence(self, text: str) -> str:
        """A sentence in the other language; words that it does not know stay as they are."""
        return re.sub(r"\s+", " ", self._run([self._program, "-u", self._mode], text)).strip()

    def _run(self, command: list[str], text: str) -> str:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=SECONDS, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise UserError(f"{PROGRAM} cannot translate {self._mode} ({said[-1] if said else 'no reason given'})")
        return done.stdout.decode(errors="replace")
