"""Pictures as clients send them: read in bounds, turned upright, and never fetched from anywhere.

Shapes: H rows, W columns, 3 of red, green and blue.
"""

from __future__ import annotations

import base64
import binascii
import io
import re

import numpy as np
import numpy.typing as npt

from ayllu.lab.error import UserError

Pixels = npt.NDArray[np.uint8]

MOST_BYTES = 8 << 20
MOST_PIXELS = 40_000_000
LONGEST = 1600
"""Pixels of the longer side that are looked at; larger pictures are made smaller."""
KINDS = ("JPEG", "PNG", "WEBP", "GIF")
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)


class NoPicture(ValueError):
    """What was given is not a picture that can be looked at; the message is one sentence."""


def from_data_url(url: str) -> bytes:
    """The bytes of a `data:` address. Raises NoPicture for any other: nothing is fetched for a client."""
    head = _DATA_URL.match(url)
    if head is None:
        raise NoPicture("a picture is given as a data URL of an image in base64; addresses are not fetched")
    if len(url) > MOST_BYTES * 4 // 3 + 100:
        raise NoPicture(f"the picture has more than {MOST_BYTES >> 20} MiB")
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise NoPicture("the picture's data URL is not base64") from None


def pixels_of(data: bytes) -> Pixels:
    """A picture's pixels, H x W x 3, upright, its longer side at most `LONGEST`. Raises NoPicture."""
    Image, ImageOps, UnidentifiedImageError = _pillow()
    if len(data) > MOST_BYTES:
        raise NoPicture(f"the picture has more than {MOST_BYTES >> 20} MiB")
    try:
        with Image.open(io.BytesIO(data), formats=KINDS) as opened:
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise NoPicture(f"the picture has {width} x {height} pixels; at most {MOST_PIXELS:,} are looked at")
            upright = ImageOps.exif_transpose(opened)
            flat = Image.new("RGB", upright.size, "white")
            layer = upright.convert("RGBA")
            flat.paste(layer, mask=layer)
    except NoPicture:
        raise
    except UnidentifiedImageError:
        raise NoPicture(f"the data is no picture of the kinds {', '.join(KINDS)}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise NoPicture("the picture is damaged or cut off") from None
    flat.thumbnail((LONGEST, LONGEST))
    return np.asarray(flat, np.uint8)


def _pillow():  # type: ignore[no-untyped-def]
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ModuleNotFoundError:
        raise UserError("pictures are read by Pillow; run: pip install 'ayllu[glasses]'") from None
    return Image, ImageOps, UnidentifiedImageError
