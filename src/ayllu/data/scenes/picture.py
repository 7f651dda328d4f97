"""A scene as pixels, by Pillow. Shapes: H rows, W columns, 3 of red, green and blue."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ayllu.data.scenes.photos import photo
from ayllu.data.scenes.scene import COLOURS, Scene, Thing, Writing
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Pixels = npt.NDArray[np.uint8]

SIDE = 448
"""Pixels of a side."""
FILES = {
    "sans": "DejaVuSans",
    "sans-bold": "DejaVuSans-Bold",
    "serif": "DejaVuSerif",
    "serif-bold": "DejaVuSerif-Bold",
    "mono": "DejaVuSansMono",
    "mono-bold": "DejaVuSansMono-Bold",
}
"""The fonts that matplotlib brings."""


def draw_picture(scene: Scene, cache: Path) -> Pixels:
    """The picture (H, W, 3). Photographs come from `cache`. Raises UserError where a package is missing."""
    ImageDraw = _pillow().ImageDraw
    rng = np.random.default_rng(scene.seed)
    ground = _ground(scene, cache)
    drawn = ground.copy()
    pen = ImageDraw.Draw(drawn)
    for thing in scene.things:
        shade = np.clip(np.array(COLOURS[thing.colour]) + rng.integers(-14, 15, 3), 0, 255)
        _put(pen, thing, tuple(map(int, shade)))
    if scene.writing is not None:
        _write(drawn, scene.writing)
    under, over = (np.asarray(layer, np.float32) for layer in (ground, drawn))
    pixels_HW3 = under + scene.strength * (over - under)
    pixels_HW3 += scene.noise * rng.standard_normal(pixels_HW3.shape, dtype=np.float32)
    return np.clip(pixels_HW3, 0, 255).astype(np.uint8)


def as_png(pixels_HW3: Pixels) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    _pillow().Image.fromarray(pixels_HW3).save(file, "PNG")
    return file.getvalue()


def _ground(scene: Scene, cache: Path) -> Picture:
    Image = _pillow().Image
    if not scene.photo:
        made: Picture = Image.new("RGB", (SIDE, SIDE), scene.ground)
        return made
    # Paler than it is, as a thing's colour must be told from it.
    faded = 0.5 * np.asarray(_photo(scene.photo, cache), np.float32) + 0.5 * np.array(scene.ground, np.float32)
    faded_picture: Picture = Image.fromarray(faded.astype(np.uint8))
    return faded_picture


@functools.lru_cache(maxsize=16)
def _photo(name: str, cache: Path) -> Picture:
    Image, ImageOps = _pillow().Image, _pillow().ImageOps
    with Image.open(io.BytesIO(photo(name, cache)), formats=("JPEG", "PNG")) as opened:
        fitted: Picture = ImageOps.fit(opened.convert("RGB"), (SIDE, SIDE))
        return fitted


def _put(pen: Any, thing: Thing, shade: tuple[int, ...]) -> None:
    x, y, half = thing.x * SIDE, thing.y * SIDE, thing.size * SIDE / 2
    if thing.shape == "circle":
        pen.ellipse((x - half, y - half, x + half, y + half), fill=shade)
        return
    # Turned corners must stay in the square that the thing fills.
    within = half / _reach(thing)
    angle = math.radians(thing.turn)
    turned = [
        (
            x + within * (a * math.cos(angle) - b * math.sin(angle)),
            y + within * (a * math.sin(angle) + b * math.cos(angle)),
        )
        for a, b in OUTLINES[thing.shape]
    ]
    pen.polygon(turned, fill=shade)


def _reach(thing: Thing) -> float:
    angle = math.radians(thing.turn)
    return max(
        max(abs(a * math.cos(angle) - b * math.sin(angle)), abs(a * math.sin(angle) + b * math.cos(angle)))
        for a, b in OUTLINES[thing.shape]
    )


def _star() -> list[tuple[float, float]]:
    corners = []
    for number in range(10):
        far, angle = (1.0 if number % 2 == 0 else 0.42), math.pi * number / 5
        corners.append((far * math.sin(angle), -far * math.cos(angle)))
    return corners


_ARM = 0.33
OUTLINES: dict[str, Sequence[tuple[float, float]]] = {
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": [(0, -1), (1, 0.9), (-1, 0.9)],
    "star": _star(),
    "cross": [
        *((-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)),
        *((_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)),
    ],
}
"""Corners in a square from -1 to 1."""


def _write(drawn: Picture, writing: Writing) -> None:
    """The word in black on a white strip, turned about its middle."""
    Image, ImageDraw = _pillow().Image, _pillow().ImageDraw
    font = _font(writing.font, round(writing.size * SIDE))
    left, top, right, bottom = map(math.ceil, font.getbbox(writing.word))
    edge = max(2, (bottom - top) // 5)
    strip = Image.new("RGBA", (right - left + 2 * edge, bottom - top + 2 * edge), "white")
    ImageDraw.Draw(strip).text((edge - left, edge - top), writing.word, font=font, fill="black")
    turned = strip.rotate(writing.turn, expand=True, resample=Image.Resampling.BICUBIC)
    x, y = (round(at * SIDE - long / 2) for at, long in ((writing.x, turned.width), (writing.y, turned.height)))
    drawn.paste(turned, (min(max(0, x), max(0, SIDE - turned.width)), max(0, y)), turned)


@functools.lru_cache(maxsize=256)
def _font(name: str, size: int) -> Any:
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{FILES[name]}.ttf"
    return _pillow().ImageFont.truetype(str(file), size)


@functools.cache
def _pillow() -> Any:
    try:
        import PIL
        from PIL import Image, ImageDraw, ImageFont, ImageOps  # noqa: F401
    except ModuleNotFoundError:
        raise UserError("pictures are drawn by Pillow; run: pip install 'ayllu[glasses]'") from None
    return PIL
