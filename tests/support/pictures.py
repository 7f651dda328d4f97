"""Pictures with known truth: signs that are rendered, and a portrait that comes with matplotlib."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

DATA = Path(matplotlib.__file__).parent / "mpl-data"
SKY, GREEN, WHITE = (60, 130, 220), (15, 120, 50), (255, 255, 255)


def sign(
    *lines: str,
    ground: tuple[int, int, int] = GREEN,
    letters: tuple[int, int, int] = WHITE,
    around: tuple[int, int, int] = SKY,
    size: int = 48,
    turned: float = 0.0,
    soft: float = 0.0,
) -> Image.Image:
    """A sign with its lines, in the upper left of a picture of 960 x 640 of one colour."""
    font = ImageFont.truetype(str(DATA / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"), size)
    wide = max(int(font.getlength(line)) for line in lines) + 60
    board = Image.new("RGBA", (wide, len(lines) * (size + 22) + 30), (*ground, 255))
    for place, line in enumerate(lines):
        ImageDraw.Draw(board).text((30, 15 + place * (size + 22)), line, font=font, fill=letters)
    board = board.rotate(turned, expand=True, resample=Image.Resampling.BICUBIC)
    picture = Image.new("RGB", (960, 640), around)
    picture.paste(board, (60, 50), board)
    return picture.filter(ImageFilter.GaussianBlur(soft)) if soft else picture


def portrait(height: int) -> Image.Image:
    """Grace Hopper, by the United States Navy, in the public domain."""
    with Image.open(DATA / "sample_data" / "grace_hopper.jpg") as file:
        return file.convert("RGB").resize((round(file.width * height / file.height), height))


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    """As a camera sends it."""
    out = io.BytesIO()
    picture.save(out, "jpeg", quality=90, **options)
    return out.getvalue()


def data_url(data: bytes) -> str:
    """As clients of the API send it."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def detail(pixels_HW3: np.ndarray) -> float:
    """How much neighbours differ on average: what tells one face from another is gone where this is."""
    grey_HW = pixels_HW3.astype(np.float32).mean(axis=-1)
    return float(np.mean([np.abs(np.diff(grey_HW, axis=axis)).mean() for axis in (0, 1)]))


def noise(seed: int = 0) -> Image.Image:
    """Nothing that anybody could make out."""
    return Image.fromarray(np.random.default_rng(seed).integers(90, 160, (480, 640, 3), np.uint8))
