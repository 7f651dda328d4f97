"""Makes a wheel that carries the C code ready for several families of processors: `make wheel`.

It installs anywhere: a processor of another family, or a system with an older C library, compiles the code at first
use as ever, or is served by torch or llama.cpp.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from ayllu.evals.likelihood.fused.library import CODE as FUSED
from ayllu.lab.error import UserError
from ayllu.lab.made.c_library import CARRIED, carry, compiler
from ayllu.lab.made.families import FAMILIES
from ayllu.lab.progress import say
from ayllu.serve.engines.native.library import CODE as NATIVE

ROOT = Path(__file__).resolve().parents[1]
OTHERS = {"aarch64": "aarch64-linux-gnu-gcc", "x86_64": "x86_64-linux-gnu-gcc"}
"""Debian's compilers for machines other than this one."""


def main(folder: Path) -> None:
    """Put the wheel into `folder`, and leave the tree as it was."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools packs what an earlier build left there
    try:
        for family in FAMILIES:
            own = family.machine == platform.machine()
            command = compiler() if own else shutil.which(OTHERS[family.machine])
            if command is None:
                say(f"there is no compiler for {family.machine}: the wheel carries nothing for {family.name}")
                continue
            for code in (NATIVE, FUSED):
                say(f"carries {carry(code, family, command).name}")
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(ROOT)]
        if subprocess.run(pip, check=False).returncode:
            sys.exit("pip cannot make the wheel: what it says stands above")
    except UserError as error:
        sys.exit(str(error))
    finally:
        shutil.rmtree(CARRIED, ignore_errors=True)
        shutil.rmtree(ROOT / "build", ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist"))
