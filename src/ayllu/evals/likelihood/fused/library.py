"""The code in C between the products, and its functions as Python calls them."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.lab.made import c_library
from ayllu.lab.progress import say

SOURCES = ("vector.h", "block.h", "attention.h", "product.h", "fused.c")
FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC")
CODE = c_library.Code(name="fused", package=__package__, files=SOURCES, flags=FLAGS, title="code for evaluations")
TYPES = ("bf16", "float")

_pointer, _int, _float = ctypes.c_void_p, ctypes.c_int, ctypes.c_float


class Segment(ctypes.Structure):
    """`Segment` of fused.c."""

    _fields_ = (("first", _int), ("length", _int), ("beginning", _int), ("before", _int))


class Layout(ctypes.Structure):
    """`Layout` of fused.c."""

    _fields_ = (
        ("heads", _int),
        ("kv_heads", _int),
        ("head_width", _int),
        ("past", _int),
        ("cosines", _pointer),
        ("sines", _pointer),
        ("positions", _pointer),
    )


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "fused_norm": (_pointer, _pointer, _pointer, _pointer, _int, _int, _float),
    "fused_gate": (_pointer, _pointer, ctypes.c_size_t),
    "fused_exponents": (_pointer, _int, _int, _pointer, _pointer),
    "fused_attend": (ctypes.POINTER(Layout), *[_pointer] * 6, _int, _pointer),
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, compiled unless it was before; None where it cannot be had, which a line says."""
    try:
        return opened(compiled())
    except UserError as error:
        say(f"{error} (evaluations compute without it, and slower)")
        return None


def compiled(*, flags: tuple[str, ...] = ("-march=native",), cache: Path | None = None) -> Path:
    """The library's file for this processor. Raises UserError without a C compiler that takes the code."""
    return c_library.compiled(CODE, flags, (cache or default_cache()) / "fused")


def opened(path: Path) -> ctypes.CDLL:
    """The library in a file, its functions typed."""
    loaded = ctypes.CDLL(str(path))
    for name, arguments in ARGUMENTS.items():
        for kind in TYPES:
            function = loaded[f"{name}_{kind}"]
            function.argtypes, function.restype = arguments, _int if name == "fused_attend" else None
            setattr(loaded, f"{name}_{kind}", function)
    loaded.fused_times_bf16.argtypes = [_pointer, _int, _int, _pointer, _int, _pointer]
    loaded.fused_times_bf16.restype = None
    return loaded
