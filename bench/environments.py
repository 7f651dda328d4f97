"""Environments of their own for the peers of a benchmark: made once, under `.bench/` beside the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".bench"


def python_with(name: str, *packages: str) -> Path:
    """The interpreter of the environment `name`, made with exactly `packages` (pinned) when it is not there."""
    folder = FOLDER / name
    python, done = folder / "bin" / "python", folder / "packages"
    wanted = "\n".join(packages)
    if not done.exists() or done.read_text() != wanted:
        print(f"making the environment {name}: {', '.join(packages)}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True, stdout=sys.stderr)
        done.write_text(wanted)
    return python
