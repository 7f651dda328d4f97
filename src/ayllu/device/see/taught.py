"""A model that takes pictures, asked where no statement answers: about shapes, on which alone it was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.data.scenes.scene import SHAPES
from ayllu.device.see.answer import Grounded, answer
from ayllu.device.see.picture import Pixels
from ayllu.device.see.scene import WHOLE, Scene, Seen
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.evals.sight.seer import Seer

NAME, MEASURED = "see", "sight.json"
"""The model that `ayllu run see` makes, and what it was measured to do."""
_SHAPES = re.compile(rf"\b({'|'.join(SHAPES)})(e?s)?\b|\bwhat shape\b|\bhow many \w+ things\b")


class Taught:
    """Who answers about shapes; `right` is the share of answers that were right on held-out scenes."""

    def __init__(self, seer: Seer, *, right: float, first: bool) -> None:
        """With `first` it is asked before the statements, which it was better than."""
        self._seer, self._right, self._first = seer, right, first

    def answer(self, scene: Scene, pixels_HW3: Pixels, question: str) -> Grounded | None:
        """An answer of statements or, to a question about shapes, of the model; None where neither has one."""
        stated = answer(scene, question)
        silent = stated is None or not stated.rests_on
        if not _SHAPES.search(question.lower()) or not (silent or self._first):
            return stated
        (text,) = self._seer.answer(pixels_HW3, [question])
        source = f"the model {NAME}, right {self._right:.0%} of the time on drawn scenes"
        told = Seen(kind="answer", what=text, box=WHOLE, confidence=round(self._right, 3), source=source)
        return Grounded(text=text, rests_on=[told])


def find_taught(home: Path) -> Taught | None:
    """The model of this lab, where there is one that was measured to add to the statements. UserError for damage."""
    from ayllu.evals.sight.seer import Seer
    from ayllu.lab.channel import NoSuchName, follow
    from ayllu.lab.store import Store
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    try:
        folder = follow(Store(home, writes=False), NAME)
        measured = json.loads((folder / MEASURED).read_text())
        default, right = str(measured["default"]), float(measured["kinds"]["all"]["right"]["model"]["value"])
    except (NoSuchName, FileNotFoundError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{NAME} does not say what it was measured to do: make it again with `ayllu run see`"
        ) from error
    if default == "statements":
        return None
    seer = Seer.load(folder, hf.load(folder), Tokenizer.load(folder))
    return Taught(seer, right=right, first=default == "model")
