"""The code in C, its structures and its functions as Python calls them."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.lab.made import c_library
from ayllu.lab.progress import say

SOURCES = ("vector.h", "product.h", "weights.h", "block.h", "attention.h", "pass.h", "fused.c")
FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC")
CODE = c_library.Code(name="fused", package=__package__, files=SOURCES, flags=FLAGS, title="code for evaluations")

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


class Asked(ctypes.Structure):
    """`Asked` of fused.c."""

    _fields_ = (
        ("count", _int),
        ("rows", _pointer),
        ("ids", _pointer),
        ("values", _pointer),
        ("likeliest", _pointer),
        ("columns", _int),
    )


class Weights(ctypes.Structure):
    """`Weights` of weights.h."""

    _fields_ = (("data", _pointer), ("inputs", _int), ("outputs", _int), ("halves", _int))


class Layer(ctypes.Structure):
    """`Layer` of weights.h."""

    _fields_ = (
        *((name, Weights) for name in ("q", "k", "v", "output", "gate", "up", "down")),
        ("attention_norm", _pointer),
        ("feed_forward_norm", _pointer),
    )


class Model(ctypes.Structure):
    """`Model` of weights.h."""

    _fields_ = (
        ("width", _int),
        ("feed_forward", _int),
        ("layers", _int),
        ("epsilon", _float),
        ("embedding", _pointer),
        ("embedding_halves", _int),
        ("rounded", _int),
        ("blocks", ctypes.POINTER(Layer)),
        ("norm", _pointer),
        ("head", Weights),
    )


class Rows(ctypes.Structure):
    """`Rows` of pass.h."""

    _fields_ = (
        ("ids", _pointer),
        ("count", _int),
        ("segments", ctypes.POINTER(Segment)),
        ("segment_count", _int),
        ("places", _pointer),
        ("wanted", _int),
        ("past", _pointer),
        ("keep", _pointer),
    )


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
    for kind in ("float", *(["bf16"] if loaded.fused_pairs() else [])):
        hidden, predict = (getattr(loaded, f"fused_{name}_{kind}") for name in ("hidden", "predict"))
        hidden.argtypes = [*map(ctypes.POINTER, (Model, Layout, Rows)), _pointer]
        predict.argtypes = [ctypes.POINTER(Model), _pointer, _int, ctypes.POINTER(Asked)]
    return loaded
