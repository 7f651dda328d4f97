"""Colours by their eleven basic names, and how bright and how sharp a picture is: measured, not guessed.

Shapes: H rows, W columns, 3 of a colour space, N pixels, K names.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from ayllu.device.see.picture import Pixels

Numbers = npt.NDArray[np.float64]

# Typical colours of the eleven basic terms of English (Berlin and Kay 1969), several where a name is wide.
# fmt: off
NAMED = {
    "black": ["000000", "1c1c1c"], "white": ["ffffff", "eeeeec"], "grey": ["808080", "a8a8a8", "585858"],
    "red": ["d01818", "a01010", "f04040"], "orange": ["f08010", "e06a00"], "yellow": ["f5e020", "e0c010", "f8f080"],
    "green": ["109030", "40c050", "0a5a20", "80b040"], "blue": ["1040c0", "3080e0", "102060", "80b8f0"],
    "purple": ["702090", "9050c0"], "pink": ["f080b0", "f8b8c8", "e83e8c"], "brown": ["704018", "905a30", "4a2a10"],
}
# fmt: on
SIDE = 64
"""A picture is looked at in so many points a side."""


def names_of(pixels_HW3: Pixels) -> npt.NDArray[np.str_]:
    """The basic name of each pixel: the nearest typical colour in CIELAB."""
    names, typical_K3 = _typical()
    lab_HW3 = lab(pixels_HW3)
    distance_HWK = np.linalg.norm(lab_HW3[..., None, :] - typical_K3, axis=-1)
    return names[distance_HWK.argmin(axis=-1)]


def shares(pixels_HW3: Pixels) -> list[tuple[str, float, tuple[float, float, float, float]]]:
    """Each colour with its share of the picture, most first, and the box that holds nearly all of it, in parts."""
    names_hw = names_of(_small(pixels_HW3))
    rows, columns = names_hw.shape
    found = []
    for name in np.unique(names_hw):
        y, x = np.nonzero(names_hw == name)
        left, right = np.percentile(x, [2, 98])
        top, bottom = np.percentile(y, [2, 98])
        box = (float(left) / columns, float(top) / rows, (float(right) + 1) / columns, (float(bottom) + 1) / rows)
        found.append((str(name), len(x) / names_hw.size, box))
    return sorted(found, key=lambda one: -one[1])


def brightness(pixels_HW3: Pixels) -> float:
    """The median lightness L* of CIELAB, 0 for black to 100 for white."""
    return float(np.median(lab(_small(pixels_HW3))[..., 0]))


def sharpness(pixels_HW3: Pixels) -> float:
    """The strongest change between neighbours: the 99.9th percentile of the grey picture's gradient, 0 to 255."""
    grey_HW = pixels_HW3.astype(np.float32).mean(axis=-1)
    steps = np.concatenate([np.abs(np.diff(grey_HW, axis=axis)).ravel() for axis in (0, 1)])
    return float(np.percentile(steps, 99.9)) if steps.size else 0.0


def lab(pixels: Pixels) -> Numbers:
    """CIELAB under D65 of sRGB (IEC 61966-2-1, CIE 15), over the last axis."""
    scaled = np.asarray(pixels, np.float64) / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = linear @ matrix.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _small(pixels_HW3: Pixels) -> Pixels:
    """At most `SIDE` x `SIDE` points, taken evenly: an average would make colours that nobody sees."""
    rows, columns = (np.linspace(0, side - 1, min(side, SIDE)).round().astype(int) for side in pixels_HW3.shape[:2])
    return pixels_HW3[rows][:, columns]


@functools.cache
def _typical() -> tuple[npt.NDArray[np.str_], Numbers]:
    pairs = [(name, code) for name, codes in NAMED.items() for code in codes]
    colours_K3 = np.array([list(bytes.fromhex(code)) for _, code in pairs], np.uint8)
    return np.array([name for name, _ in pairs]), lab(colours_K3)
