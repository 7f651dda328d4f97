"""Planning and verifying without torch, pyarrow and matplotlib, and what is said where they are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ayllu.cli.main import FULL
from ayllu.release.build import build_release
from support.release import inputs

ROOT = Path(__file__).parents[2]
LIGHT = [
    "fleet plan llama-3.1-405b --fleet llama3-16k",
    "fleet plan cria --fleet dgx-h100 --json",
    "fleet plan smol --fleet 8xh100",
    "fleet plan draft --fleet 8xh100",
    "fleet plan deepseek-v3 --fleet 512xh100",
    "fleet plan llama-3.1-8b,ladder-4x256 --fleet old-and-new",
    "fleet show meta-2024",
    "fleet simulate llama3-54-days",
    "fleet launch cria --on slurm --dry-run",
    "fleet launch cria --on kubernetes --image x --dry-run",
]
HEAVY = [
    ("run cria --budget 3", "pyarrow|torch|rensa|ftfy"),
    ("chat {release} --message Hello", "httpx2|llguidance|torch|safetensors"),
    ("serve {release}", "uvicorn|fastapi|torch|pydantic"),
    ("eval {release}", "torch"),
    ("fleet plan smol --fleet 8xh100 --picture {home}/plan", "matplotlib"),
    ("fleet calibrate", "torch"),
    ("layout llama-3.1-8b tp=2", "torch"),
]
WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FULL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

FULL = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Refuse())
from ayllu.cli.main import main
main(sys.argv[1:])
"""
"""The command where the modules of the extra `full` cannot be imported."""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AYLLU_HOME", str(folder / "home"))
        return build_release(folder / "release", **inputs(folder)).folder


Run = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def ayllu(tmp_path: Path, release: Path) -> Run:
    """Runs the words of a command without the extra's modules."""

    def run(words: str) -> subprocess.CompletedProcess[str]:
        said = [word.format(release=release, home=tmp_path) for word in words.split()]
        start = [sys.executable, "-c", WITHOUT, ",".join(sorted(FULL))]
        environment = {**os.environ, "AYLLU_HOME": str(tmp_path / "home")}
        return subprocess.run([*start, *said], capture_output=True, text=True, cwd=tmp_path, env=environment)

    return run


def test_the_modules_of_the_extra_are_those_of_its_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {requirement.split(">=")[0] for requirement in project["optional-dependencies"]["full"]}
    brought = {
        module
        for module, packages in packages_distributions().items()
        if extra & {package.lower().replace("_", "-") for package in packages}
    }
    assert set(FULL) - {"starlette"} <= brought
    named = {
        package.lower().replace("_", "-")
        for module, packages in packages_distributions().items()
        if module in FULL
        for package in packages
    }
    assert extra <= named, "of each package a module is named"


@pytest.mark.parametrize("words", [*LIGHT, "release verify {release}"])
def test_planning_and_verifying_need_none_of_the_extra(ayllu: Run, words: str) -> None:
    done = ayllu(words)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(("words", "module"), HEAVY)
def test_what_needs_more_names_the_extra_in_one_sentence(ayllu: Run, words: str, module: str) -> None:
    done = ayllu(words)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ayllu: this needs ") and last.endswith("run: pip install 'ayllu[full]'")
    assert last.split()[3].rstrip(",") in module.split("|")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_installed_base_plans_and_verifies_and_has_no_torch(tmp_path: Path, release: Path) -> None:
    place, tree = tmp_path / "environment", tmp_path / "tree"
    # Built from a copy: setuptools leaves a folder `build` beside what it builds.
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tree)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    constraint = str(ROOT / "requirements.lock")
    install = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--constraint", constraint, str(tree)]
    subprocess.run(install, check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["AYLLU_HOME"] = str(tmp_path / "home")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(place / "bin" / words[0]), *words[1:]]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    for module in ("torch", "pyarrow", "matplotlib"):
        assert run("python", "-c", f"import {module}").returncode == 1
    for words in LIGHT:
        assert run("ayllu", *words.split()).returncode == 0
    assert run("ayllu", "release", "verify", str(release)).returncode == 0
    missing = run("ayllu", "run", "cria")
    assert (missing.returncode, missing.stderr.count("pip install 'ayllu[full]'")) == (2, 1)
