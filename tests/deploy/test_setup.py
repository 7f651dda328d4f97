"""`make run` on a machine that lacks something: one sentence, and nothing that stands in the way of the next try."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.parts import need

ROOT = Path(__file__).parents[2]
WITHOUT_PIP = """#!/bin/sh
[ "$1" = -c ] && exit 0
mkdir -p "$3/bin" && touch "$3/bin/python"
echo "ensurepip is not available"
exit 1
"""
"""As Debian's python3 does without python3-venv."""


def test_half_an_environment_is_not_taken_for_one(tmp_path: Path) -> None:
    need(shutil.which("make"), "make is not installed")
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(WITHOUT_PIP)
    python.chmod(0o755)
    command = ["make", "--directory", str(tmp_path), "install", f"PYTHON={python}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "apt-get install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()
