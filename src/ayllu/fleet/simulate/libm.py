"""Functions of numbers by the C library, one number at a time.

numpy's own depend on the vector unit of the processor by a last bit (2.4 takes AVX-512 where there is one), and a
simulation takes another course from one bit: a seed would not say the same on two machines.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

_exp = np.vectorize(math.exp, otypes=[float])
_log = np.vectorize(math.log, otypes=[float])
_log2 = np.vectorize(math.log2, otypes=[float])
_sin = np.vectorize(math.sin, otypes=[float])
_power = np.vectorize(math.pow, otypes=[float])


def exp(x: ArrayLike) -> np.ndarray:
    """e to the power of every number."""
    return np.asarray(_exp(x))


def log(x: ArrayLike) -> np.ndarray:
    """The natural logarithm of every number, all above 0."""
    return np.asarray(_log(x))


def log2(x: ArrayLike) -> np.ndarray:
    """The logarithm to base 2 of every number, all above 0."""
    return np.asarray(_log2(x))


def sin(x: ArrayLike) -> np.ndarray:
    """The sine of every number, radians."""
    return np.asarray(_sin(x))


def power(x: ArrayLike, exponent: ArrayLike) -> np.ndarray:
    """`x` to the power of `exponent`, broadcast as numpy does."""
    return np.asarray(_power(x, exponent))
