"""The engine's C code as a library: compiled for this processor at first use, kept by the digest of what makes it."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.lab.made import c_library

SOURCES = (
    "vector.h",
    "kernels/avx2.h",
    "kernels/avx512.h",
    "kernels/amx.h",
    "kernels/neon.h",
    "kernels/plain.h",
    "products.h",
    "attention.h",
    "low_rank.h",
    "crew.h",
    "native.h",
    "engine.c",
    "plain.c",
    "selftest.c",
    "pick.c",
)
FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-ffp-contract=off", "-shared", "-fPIC")
CODE = c_library.Code(name="native", package=__package__, files=SOURCES, flags=FLAGS, title="the native engine")

_pointer = ctypes.c_void_p


class Matrix(ctypes.Structure):
    """`Matrix` of native.h."""

    _fields_ = (("rows", ctypes.c_int), ("columns", ctypes.c_int), ("bits", ctypes.c_int), ("data", _pointer))


class Shape(ctypes.Structure):
    """`Shape` of native.h."""

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


class LowRank(ctypes.Structure):
    """`LowRank` of native.h."""

    _fields_ = (
        ("first", ctypes.c_int),
        ("rows", ctypes.c_int),
        ("rank", ctypes.c_int),
        ("a", _pointer),
        ("b", _pointer),
    )


class Step(ctypes.Structure):
    """`Step` of native.h."""

    _fields_ = (
        ("rows", ctypes.c_int),
        ("ids", _pointer),
        ("positions", _pointer),
        ("sequences", _pointer),
        ("tables", _pointer),
        ("pages_each", ctypes.c_int),
        ("adapters", _pointer),
        ("wanted", _pointer),
        ("wanted_rows", ctypes.c_int),
        ("logits", _pointer),
    )


class Draw(ctypes.Structure):
    """`Draw` of pick.c."""

    _fields_ = (
        ("temperature", ctypes.c_float),
        ("top_p", ctypes.c_float),
        ("min_p", ctypes.c_float),
        ("repetition", ctypes.c_float),
        ("presence", ctypes.c_float),
        ("frequency", ctypes.c_float),
        ("top_k", ctypes.c_int),
        ("uniform", ctypes.c_double),
        ("seen", _pointer),
        ("seen_count", ctypes.c_int),
        ("given", ctypes.c_int),
        ("biased", _pointer),
        ("bias", _pointer),
        ("bias_count", ctypes.c_int),
        ("allowed", _pointer),
    )


class Candidate(ctypes.Structure):
    """`Candidate` of pick.c."""

    _fields_ = (("probability", ctypes.c_float), ("id", ctypes.c_int32))


@functools.cache
def library() -> ctypes.CDLL:
    """The library, compiled unless it was before. Raises UserError without a compiler, or one that takes the code."""
    return opened(compiled())


class SelfTestError(UserError):
    """The kernels find other numbers than plain C."""


def check(bits: int, threads: int) -> None:
    """Compare the kernels with plain C on a tiny model, for milliseconds. Raises SelfTestError where they differ."""
    if not library().native_selftest(bits, threads):
        kernels = bytes(library().native_kernels()).decode()
        raise SelfTestError(f"the native engine's kernels ({kernels}) compute wrong numbers on this machine")


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
        ctypes.c_int,
    ]
    loaded.native_adapt.argtypes = [_pointer, ctypes.POINTER(LowRank), ctypes.c_int]
    loaded.native_free.argtypes = [_pointer]
    loaded.native_free.restype = None
    loaded.native_step.argtypes = [_pointer, ctypes.POINTER(Step)]
    loaded.native_step.restype = None
    loaded.native_pick.argtypes = [_pointer, ctypes.c_int, ctypes.POINTER(Draw), _pointer]
    loaded.native_likeliest.argtypes = [_pointer, ctypes.c_int, ctypes.c_int, ctypes.POINTER(Candidate)]
    loaded.native_likeliest.restype = ctypes.c_double
    return loaded


def compiled(*, flags: tuple[str, ...] = ("-march=native",), cache: Path | None = None) -> Path:
    """The library's file for this processor, made by the C compiler that is there. Raises UserError as `library`."""
    return c_library.compiled(CODE, flags, (cache or default_cache()) / "native")
