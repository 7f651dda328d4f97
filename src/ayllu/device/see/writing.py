"""Writing in a picture, by rapidocr: PP-OCR's networks, which come in its wheel (https://github.com/RapidAI/RapidOCR)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ayllu.device.see.picture import Pixels
from ayllu.lab.error import UserError

LEAST = 0.7
"""Confidence from which a line is told: below it letters are mostly made up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of writing; `box` is left, top, right and bottom in parts of the picture."""

    text: str
    box: tuple[float, float, float, float]
    confidence: float


class Writing:
    """Finds and reads lines, upright and turned."""

    name = "rapidocr PP-OCRv6"

    def __init__(self, *, threads: int = 1) -> None:
        try:
            from rapidocr import RapidOCR
        except ModuleNotFoundError:
            raise UserError("writing is read by rapidocr; run: pip install 'ayllu[glasses]'") from None
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        settings = {
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
        self._read = RapidOCR(params=settings)

    def lines(self, pixels_HW3: Pixels) -> list[Line]:
        """The lines from top to bottom; none where there is no writing, for which rapidocr gives None."""
        height, width = pixels_HW3.shape[:2]
        found: Any = self._read(np.ascontiguousarray(pixels_HW3[..., ::-1]))
        if found is None or found.txts is None:
            return []
        lines = []
        for text, corners_42, score in zip(found.txts, found.boxes, found.scores, strict=True):
            if score < LEAST or not re.search(r"\w", text):
                continue
            (left, top), (right, bottom) = np.min(corners_42, axis=0), np.max(corners_42, axis=0)
            box = (left / width, top / height, right / width, bottom / height)
            lines.append(Line(text=text.strip(), box=_whole(box), confidence=round(float(score), 3)))
        return lines


def _whole(box: tuple[Any, ...]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (min(1.0, max(0.0, float(side))) for side in box)
    return left, top, right, bottom
