"""`make run` on a machine that lacks something: one sentence, and nothing that stands in the way of the next try."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of what `make run` begins with, whose Python would install nothing."""
    need(shutil.which("make"), "make is not installed")
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "deploy").mkdir()
    shutil.copyfile(ROOT / "deploy" / "ready.py", tmp_path / "deploy" / "ready.py")
    return tmp_path


def make(place: Path, target: str, *settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--directory", str(place), target, f"PYTHON={sys.executable}", *settings],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("BUDGET=soon", "BUDGET is 'soon'; give the minutes"),
        ("BUDGET=nan", "BUDGET is 'nan'"),
        ("PORT=http", "PORT is 'http'"),
        ("PORT=70000", "PORT is '70000'"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_installed(place: Path, setting: str, told: str) -> None:
    done = make(place, "run", setting)
    assert done.returncode == 2 and told in done.stderr
    assert not (place / ".venv").exists()


def test_a_port_that_is_taken_is_told_before_anything_is_installed(place: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = make(place, "run", f"PORT={port}")
        assert done.returncode == 2 and f"port {port} cannot be had" in done.stderr
        assert make(place, "ready", f"PORT={port}", "SERVE=0").returncode == 0
    assert make(place, "ready", f"PORT={port}").returncode == 0


def test_make_alone_says_what_there_is_and_does_nothing(place: Path) -> None:
    done = subprocess.run(["make", "--directory", str(place)], capture_output=True, text=True)
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    for target in set(phony.split()[1:]) - {"ready", "install", "install-dev", "clean"}:
        assert f"make {target} " in done.stdout, target
    assert done.returncode == 0 and not (place / ".venv").exists()
