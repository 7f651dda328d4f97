"""An environment of its own for lm-evaluation-harness: made once, on demand, under the cache.

Nothing of it enters ours: its pins could not be met beside them.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.progress import say

PACKAGES = (
    "lm-eval[hf]==0.4.13",
    "torch==2.13.0",
    "transformers==5.23.0",
    "accelerate==1.15.0",
    "langdetect==1.0.9",
    "immutabledict==4.3.1",
    "sympy==1.14.0",
    "antlr4-python3-runtime==4.11.0",
    "math-verify==0.9.0",
)
"""What is installed there, each at one version, with what those bring."""


def harness_python(cache: Path) -> Path:
    """The interpreter of the environment, made when it is not there. UserError where that fails."""
    folder = cache / "environments" / "lm-eval-0.4.13"
    python, done = folder / "bin" / "python", folder / "packages.txt"
    wanted = "\n".join(PACKAGES)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / ".lm-eval.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.is_file() or done.read_text() != wanted:
                say(f"making an environment for lm-eval in {folder}: {len(PACKAGES)} packages and what they need")
                _run([sys.executable, "-m", "venv", "--clear", str(folder)])
                _run([str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *PACKAGES])
                done.write_text(wanted)
    except OSError as error:
        raise UserError(
            f"cannot write {folder} ({error.strerror or error}): free the disk or set AYLLU_CACHE"
        ) from error
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        said = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "nothing was said")
        raise UserError(f"the environment for lm-eval cannot be made ({said}): check the network and try again")
