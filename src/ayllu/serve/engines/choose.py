"""Which engine serves a folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.plugins import Registry
from ayllu.lab.progress import say
from ayllu.serve.engines.engine import Engine
from ayllu.serve.engines.torch_engine import TorchEngine

ENGINES: Registry[Callable[[Path], Engine]] = Registry("engine", "ayllu.engines", taken=("auto", "torch", "llama.cpp"))
"""Engines of others by name: each loads a folder of weights. `auto`, `torch` and `llama.cpp` are ours."""


def open_engine(folder: Path, name: str = "auto") -> Engine:
    """Load the model in `folder` into the engine `name`.

    `auto` is llama.cpp, the faster one on a CPU, where the package xllamacpp is installed and the folder has one GGUF
    file that it can read; else torch. Raises UserError when the engine or the model cannot be had.
    """
    if name not in ("auto", "torch", "llama.cpp"):
        if name not in ENGINES.names():
            known = ", ".join(["auto", "torch", "llama.cpp", *ENGINES.names()])
            raise UserError(f"there is no engine {name!r}; choose one of {known}")
        return ENGINES.find(name)(folder)
    files = sorted(folder.glob("*.gguf"))
    installed = importlib.util.find_spec("xllamacpp") is not None
    if name == "torch" or (name == "auto" and (not installed or len(files) != 1)):
        return TorchEngine(folder)
    if not installed:
        raise UserError("the engine llama.cpp needs the package xllamacpp; install it, or choose the engine torch")
    if len(files) != 1:
        raise UserError(f"{folder} has {len(files)} GGUF files and llama.cpp needs one; choose the engine torch")
    from ayllu.serve.engines.llama_cpp import LlamaCppEngine

    try:
        return LlamaCppEngine(folder, files[0])
    except UserError as error:
        if name != "auto":
            raise
        say(f"{error}: that is done now")
        return TorchEngine(folder)
