"""Faces, found only to be blurred: CenterFace (Xu et al. 2019, https://arxiv.org/abs/1911.03599).

Shapes: H rows and W columns of the picture, h = H / 4 and w = W / 4 of the network's maps, N faces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ayllu.device.models import CENTERFACE, read, session
from ayllu.device.see.picture import Pixels
from ayllu.lab.error import UserError

SIDE = 800
"""Pixels of the longer side that the network sees."""
STEP = 32
"""The network's sizes are multiples of it."""
LEAST = 0.2
"""Score from which something counts as a face: a blurred lamp costs less than a face in the clear."""
OVERLAP = 0.3
MARGIN = 1.3
"""So much larger than the face is what is blurred, for hair and ears."""
CELLS = 4
"""A face keeps so many blocks of colour on each side."""


def centerface(cache: Path) -> bytes:
    """The network for pictures of any size: the file has a size of its own written in. Raises UserError."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise UserError("faces cannot be found without onnx; run: pip install 'ayllu[glasses]'") from None
    model = onnx.load_model_from_string(read(CENTERFACE, cache)["model"])
    kept = {one.name for one in model.graph.initializer}
    given = [one for one in model.graph.input if one.name not in kept]
    for value in [*given, *model.graph.output]:
        for place in (0, 2, 3):
            value.type.tensor_type.shape.dim[place].Clear()
    used = {name for node in model.graph.node for name in node.input}
    weights = [one for one in model.graph.initializer if one.name in used]
    del model.graph.value_info[:], model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    del model.graph.input[:]
    model.graph.input.extend(given)
    return bytes(model.SerializeToString())


class Faces:
    """Finds faces and makes them unrecognisable."""

    name = CENTERFACE.name

    def __init__(self, cache: Path, *, threads: int = 1) -> None:
        self._session = session(centerface(cache), threads=threads)

    def find(self, pixels_HW3: Pixels) -> npt.NDArray[np.float32]:
        """Faces as N x 5: left, top, right, bottom in pixels, and the score."""
        from PIL import Image

        height, width = pixels_HW3.shape[:2]
        scale = SIDE / max(height, width)
        size = [max(STEP, round(side * scale / STEP) * STEP) for side in (width, height)]
        shown = np.asarray(Image.fromarray(pixels_HW3).resize((size[0], size[1])), np.float32)
        maps = self._session.run(None, {"input.1": shown.transpose(2, 0, 1)[None]})
        found = decoded([np.asarray(one)[0] for one in maps[:3]])
        found[:, 0:4:2] *= width / size[0]
        found[:, 1:4:2] *= height / size[1]
        return found

    def blurred(self, pixels_HW3: Pixels) -> tuple[Pixels, npt.NDArray[np.float32]]:
        """The picture with its faces blurred, and where they were."""
        found = self.find(pixels_HW3)
        return blur(pixels_HW3, found), found


def decoded(maps: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Boxes from the network's maps of score, size and offset; of two that overlap the surer one stays."""
    score_hw, size_2hw, offset_2hw = maps[0][0], maps[1], maps[2]
    rows, columns = np.nonzero(score_hw > LEAST)
    heights, widths = (np.exp(size_2hw[axis, rows, columns]) * 4 for axis in (0, 1))
    tops = (rows + offset_2hw[0, rows, columns] + 0.5) * 4 - heights / 2
    lefts = (columns + offset_2hw[1, rows, columns] + 0.5) * 4 - widths / 2
    boxes = np.stack([lefts, tops, lefts + widths, tops + heights, score_hw[rows, columns]], axis=1)
    kept: list[Any] = []
    for box in boxes[np.argsort(-boxes[:, 4], kind="stable")]:
        if all(_overlap(box, other) < OVERLAP for other in kept):
            kept.append(box)
    return np.asarray(kept, np.float32).reshape(-1, 5)


def _overlap(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Intersection over union."""
    sides = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / (float(np.prod(a[2:4] - a[:2]) + np.prod(b[2:4] - b[:2])) - shared)


def blur(pixels_HW3: Pixels, faces_N5: npt.NDArray[np.float32]) -> Pixels:
    """A copy of which each face, and a margin around it, is an ellipse of a few blocks of colour."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels_HW3)
    for left, top, right, bottom in faces_N5[:, :4].tolist():
        grown_x, grown_y = (right - left) * (MARGIN - 1) / 2, (bottom - top) * (MARGIN - 1) / 2
        box = [int(left - grown_x), int(top - grown_y), round(right + grown_x) + 1, round(bottom + grown_y) + 1]
        box = [max(0, box[0]), max(0, box[1]), min(picture.width, box[2]), min(picture.height, box[3])]
        size = (box[2] - box[0], box[3] - box[1])
        if min(size) < 1:
            continue
        part = picture.crop((box[0], box[1], box[2], box[3]))
        rough = part.resize((CELLS, CELLS), Image.Resampling.BOX).resize(size, Image.Resampling.BILINEAR)
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).ellipse((0, 0, size[0] - 1, size[1] - 1), fill=255)
        picture.paste(rough, (box[0], box[1]), mask)
    return np.asarray(picture, np.uint8)
