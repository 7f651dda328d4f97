"""Which engine serves a folder."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.plugins import Registry
from ayllu.lab.progress import say
from ayllu.serve.engines.engine import Engine, load_tokenizer_and_config

OURS = ("auto", "native", "llama.cpp", "torch", "vllm")
ENGINES: Registry[Callable[[Path], Engine]] = Registry("engine", "ayllu.engines", taken=OURS)
"""Engines of others by name, beside `OURS`: each loads a folder of weights."""

MOST_CONVERTED = 4 << 30
"""Bytes of weights that are turned into a GGUF file for the time of serving; larger ones are better exported once."""


def open_engine(
    folder: Path,
    name: str = "auto",
    *,
    convert: bool = False,
    bits: int | None = None,
    cache_bits: int | None = None,
    adapters: Mapping[str, Path] | None = None,
) -> Engine:
    """Load the model in `folder` into the engine `name`, with the LoRA adapters in the folders of `adapters`.

    `native` computes with `bits` (4, 8 or 16) to a weight, 8 unless they are given, and keeps keys and values in
    `cache_bits` (8 or 16, 16 unless given); others take what the files hold. Where its self-test fails, another engine
    serves, and a line says so.

    `vllm` starts the program of that name for the folder; an http URL is a server of vLLM that runs elsewhere.

    `auto` is `native`, the fastest on a processor, where there is a C compiler and the model's shape fits; a line says
    why it is not. Then it is llama.cpp where the package xllamacpp is installed and the folder
    has one GGUF file that it can read; else torch. With `convert` a folder without one is served by llama.cpp too: from
    a file that is written for it and gone once it is loaded. Raises UserError when engine or model cannot be had.
    """
    if adapters and name not in OURS and not name.startswith(("http://", "https://")):
        raise UserError(f"the engine {name} has no adapters; choose one of {', '.join(OURS[1:])}")
    if name in ("native", "auto"):
        from ayllu.serve.engines.native.engine import NativeEngine
        from ayllu.serve.engines.native.library import SelfTestError

        loaded = load_tokenizer_and_config(folder)  # what no engine can serve is no reason to take another
        try:
            return NativeEngine(folder, bits=bits or 8, cache_bits=cache_bits or 16, adapters=adapters, loaded=loaded)
        except UserError as error:
            if not isinstance(error, SelfTestError) and (name == "native" or bits or cache_bits):
                raise
            say(f"{error} (another engine serves)")
        name, bits, cache_bits = "auto", None, None
    for option, value in (("bits", bits), ("cache_bits", cache_bits)):
        if value is not None:
            raise UserError(
                f"{option} is {value}, and only the engine native packs numbers; leave it out or choose that engine"
            )
    if name == "vllm" or name.startswith(("http://", "https://")):
        from ayllu.serve.engines.vllm.engine import VllmEngine

        return VllmEngine(folder, url=None if name == "vllm" else name, adapters=adapters)
    if name not in OURS:
        if name not in ENGINES.names():
            known = ", ".join([*OURS, *ENGINES.names()])
            raise UserError(f"there is no engine {name!r}; choose one of {known}")
        return ENGINES.find(name)(folder)
    files = sorted(folder.glob("*.gguf"))
    installed = importlib.util.find_spec("xllamacpp") is not None
    if name in ("auto", "llama.cpp") and convert and installed and not files:
        try:
            if (engine := _converted(folder, adapters)) is not None:
                return engine
        except (UserError, ValueError, OSError) as error:
            if name != "auto":
                raise UserError(f"llama.cpp cannot have this model ({error}); choose the engine torch") from error
            say(f"llama.cpp cannot have this model ({error}); the slower engine torch serves it")
    if name == "torch" or (name == "auto" and (not installed or len(files) != 1)):
        return _torch(folder, adapters)
    if not installed:
        raise UserError("the engine llama.cpp needs the package xllamacpp; install it, or choose the engine torch")
    if len(files) != 1:
        raise UserError(f"{folder} has {len(files)} GGUF files and llama.cpp needs one; choose the engine torch")
    from ayllu.serve.engines.llama_cpp import LlamaCppEngine

    try:
        return LlamaCppEngine(folder, files[0], adapters=adapters)
    except UserError as error:
        if name != "auto":
            raise
        say(f"{error}: that is done now")
        return _torch(folder, adapters)


def _torch(folder: Path, adapters: Mapping[str, Path] | None) -> Engine:
    from ayllu.serve.engines.torch_engine import TorchEngine  # torch takes seconds, and other engines do without

    return TorchEngine(folder, adapters=adapters)


def _converted(folder: Path, adapters: Mapping[str, Path] | None) -> Engine | None:
    """llama.cpp with a GGUF file of the folder's weights, in the type that they are stored in.

    None where there are no weights, or no room for such a file. Raises UserError, ValueError or OSError where it cannot
    be written or read.
    """
    from ayllu.release.exports.export import export_model
    from ayllu.serve.engines.llama_cpp import LlamaCppEngine

    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    # Where large files may lie: /tmp is memory on many machines.
    place = Path("/var/tmp") if os.access("/var/tmp", os.W_OK) else Path(tempfile.gettempdir())
    if not 0 < size <= MOST_CONVERTED or shutil.disk_usage(place).free < 2 * size:
        return None
    with tempfile.TemporaryDirectory(prefix="ayllu-", dir=place, ignore_cleanup_errors=True) as made:
        export_model(folder, "gguf", Path(made) / "gguf")
        # The engine maps the file, which goes on when its name is gone.
        return LlamaCppEngine(folder, next((Path(made) / "gguf").glob("*.gguf")), adapters=adapters)
