"""Environments of their own for the peers of a benchmark: made once, under `.bench/` beside the project."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from training.peers import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".bench"


def python_with(peer: str, folder: Path | None = None, packages: Sequence[str] | None = None) -> Path:
    """The interpreter of the environment with exactly the packages of `peer`, made when it is not there."""
    packages = packages or PACKAGES[peer]
    folder = folder or FOLDER / peer
    python, done = folder / "bin" / "python", folder / "packages"
    wanted = "\n".join(packages)
    if not done.exists() or done.read_text() != wanted:
        print(f"making the environment {peer}: {', '.join(packages)}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True, stdout=sys.stderr)
        done.write_text(wanted)
    return python
