"""Which engine serves a folder."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.plugins import Registry
from ayllu.lab.progress import say
from ayllu.serve.engines.engine import Engine
from ayllu.serve.engines.torch_engine import TorchEngine

OURS = ("auto", "native", "llama.cpp", "torch")
ENGINES: Registry[Callable[[Path], Engine]] = Registry("engine", "ayllu.engines", taken=OURS)
"""Engines of others by name, beside `OURS`: each loads a folder of weights."""

MOST_CONVERTED = 4 << 30
"""Bytes of weights that are turned into a GGUF file for the time of serving; larger ones are better exported once."""


def open_engine(folder: Path, name: str = "auto", *, convert: bool = False, bits: int | None = None) -> Engine:
    """Load the model in `folder` into the engine `name`.

    `native` computes with `bits` (4, 8 or 16) to a weight, 8 unless they are given; others take what the files hold.

    `auto` is llama.cpp, the faster one on a CPU, where the package xllamacpp is installed and the folder has one GGUF
    file that it can read; else torch. With `convert` a folder without one is served by llama.cpp too: from a file
    that is written for it and gone once it is loaded. Raises UserError when the engine or the model cannot be had.
    """
    if name == "native":
        from ayllu.serve.engines.native.engine import NativeEngine

        return NativeEngine(folder, bits=8 if bits is None else bits)
    if bits is not None:
        raise UserError(f"bits is {bits}, and only the engine native packs weights; leave it out or choose that engine")
    if name not in OURS:
        if name not in ENGINES.names():
            known = ", ".join([*OURS, *ENGINES.names()])
            raise UserError(f"there is no engine {name!r}; choose one of {known}")
        return ENGINES.find(name)(folder)
    files = sorted(folder.glob("*.gguf"))
    installed = importlib.util.find_spec("xllamacpp") is not None
    if name == "auto" and convert and installed and not files and (engine := _converted(folder)) is not None:
        return engine
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


def _converted(folder: Path) -> Engine | None:
    """llama.cpp with a GGUF file of the folder's weights, in the type that they are stored in; None if it fails."""
    from ayllu.release.export import export_model
    from ayllu.serve.engines.llama_cpp import LlamaCppEngine

    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    # Where large files may lie: /tmp is memory on many machines.
    place = Path("/var/tmp") if os.access("/var/tmp", os.W_OK) else Path(tempfile.gettempdir())
    if not 0 < size <= MOST_CONVERTED or shutil.disk_usage(place).free < 2 * size:
        return None
    with tempfile.TemporaryDirectory(prefix="ayllu-", dir=place, ignore_cleanup_errors=True) as made:
        try:
            export_model(folder, "gguf", Path(made) / "gguf")
            # The engine maps the file, which goes on when its name is gone.
            return LlamaCppEngine(folder, next((Path(made) / "gguf").glob("*.gguf")))
        except (UserError, ValueError, OSError) as error:
            say(f"llama.cpp cannot have this model ({error}); the slower engine torch serves it")
            return None
