"""The environment that ExecuTorch runs in: it wants a torchao and a torch of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ayllu.data.archive import default_cache
from ayllu.lab.made.environments import Environment

EXECUTORCH = Environment(
    name="executorch-1.5.1",
    title="ExecuTorch",
    packages=(
        "torch==2.13.0",
        "numpy==2.4.6",
        "flatbuffers==25.12.19",
        "packaging==26.4",
        "pyyaml==6.0.4",
        "ruamel.yaml==0.19.1",
        "tabulate==0.10.0",
    ),
    # What else it asks for is for other devices than processors, and for its tests.
    alone=("executorch==1.5.1", "torchao==0.18.0"),
)
PROGRAM = Path(__file__).with_name("program.py")


def command(*words: str | Path) -> list[str]:
    """What runs `program.py` there; UserError where the environment cannot be made."""
    return [str(EXECUTORCH.python(default_cache())), "-I", str(PROGRAM), *map(str, words)]


def last_line(said: str) -> str:
    """Of what a program wrote before it ended, the line that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def run(*words: str | Path) -> None:
    """Run `program.py` to its end; ValueError with its last line where it fails."""
    done = subprocess.run(command(*words), capture_output=True, text=True, errors="replace", env=os.environ)
    if done.returncode:
        raise ValueError(f"ExecuTorch ended with {done.returncode}: {last_line(done.stderr)}")
