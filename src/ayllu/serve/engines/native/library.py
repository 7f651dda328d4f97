"""The engine's C code as a library: compiled for this processor at first use, kept by the digest of what makes it."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.serve.engines.native.kept import is_whole, keep

SOURCES = ("vector.h", "engine.c", "pick.c")
FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-shared", "-fPIC")
COMPILERS = ("cc", "gcc", "clang")

_pointer = ctypes.c_void_p


class Matrix(ctypes.Structure):
    """`Matrix` of engine.c."""

    _fields_ = (("rows", ctypes.c_int), ("columns", ctypes.c_int), ("bits", ctypes.c_int), ("data", _pointer))


class Shape(ctypes.Structure):
    """`Shape` of engine.c."""

    _fields_ = (
        ("layers", ctypes.c_int),
        ("width", ctypes.c_int),
        ("heads", ctypes.c_int),
        ("kv_heads", ctypes.c_int),
        ("head_width", ctypes.c_int),
        ("feed_forward", ctypes.c_int),
        ("vocabulary", ctypes.c_int),
        ("epsilon", ctypes.c_float),
    )


class Step(ctypes.Structure):
    """`Step` of engine.c."""

    _fields_ = (
        ("rows", ctypes.c_int),
        ("ids", _pointer),
        ("positions", _pointer),
        ("sequences", _pointer),
        ("tables", _pointer),
        ("pages_each", ctypes.c_int),
        ("wanted", _pointer),
        ("wanted_rows", ctypes.c_int),
        ("logits", _pointer),
    )


class Draw(ctypes.Structure):
    """`Draw` of pick.c."""

    _fields_ = (
        ("temperature", ctypes.c_float),
        ("top_p", ctypes.c_float),
        ("penalty", ctypes.c_float),
        ("top_k", ctypes.c_int),
        ("uniform", ctypes.c_double),
    )


@functools.cache
def library() -> ctypes.CDLL:
    """The library, compiled unless it was before. Raises UserError without a compiler, or one that takes the code."""
    return opened(compiled())


def opened(path: Path) -> ctypes.CDLL:
    """The library in a file, its functions typed."""
    loaded = ctypes.CDLL(str(path))
    loaded.native_kernels.restype = ctypes.c_char_p
    loaded.native_new.restype = _pointer
    loaded.native_new.argtypes = [
        ctypes.POINTER(Shape),
        ctypes.POINTER(Matrix),
        ctypes.POINTER(_pointer),
        _pointer,
        _pointer,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
    ]
    loaded.native_free.argtypes = [_pointer]
    loaded.native_free.restype = None
    loaded.native_step.argtypes = [_pointer, ctypes.POINTER(Step)]
    loaded.native_step.restype = None
    loaded.native_pick.argtypes = [
        _pointer,
        ctypes.c_int,
        _pointer,
        ctypes.c_int,
        ctypes.POINTER(Draw),
        _pointer,
    ]
    return loaded


def compiled(*, flags: tuple[str, ...] = ("-march=native",), cache: Path | None = None) -> Path:
    """The library's file for this processor, made by the C compiler that is there. Raises UserError as `library`."""
    sources = {name: (files(__package__) / name).read_text(encoding="utf-8") for name in SOURCES}
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise UserError(
            "the native engine is compiled at first use, and there is no C compiler here; install gcc or clang"
        )
    told = (sources, compiler, FLAGS, flags, _processor())
    name = f"native-{hashlib.sha256(repr(told).encode()).hexdigest()[:16]}.so"
    path = (cache or default_cache()) / "native" / name
    if is_whole(path):  # one that is cut short ends the process when it is opened
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        for source, text in sources.items():
            (Path(made) / source).write_text(text, encoding="utf-8")
        units = [str(Path(made) / source) for source in SOURCES if source.endswith(".c")]
        command = [*compiler.split(), *FLAGS, *flags, "-o", str(Path(made) / name), *units, "-lm", "-lpthread"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            first = next(iter(run.stderr.splitlines()), "no message")
            raise UserError(f"{compiler} cannot compile the native engine ({first}); choose another engine")
        # Whole or not at all, whoever else compiles it at the same time.
        keep(Path(made) / name, path)
    return path


def _processor() -> str:
    """What tells processors apart: code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return platform.machine() + repr(sorted(set(told)))
