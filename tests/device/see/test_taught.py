"""A model that takes pictures answers about shapes alone, and only where it was measured to add something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ayllu.device.see.scene import Scene, Seen
from ayllu.device.see.taught import MEASURED, NAME, Taught, find_taught
from ayllu.lab.channel import promote
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store

PIXELS = np.zeros((8, 8, 3), np.uint8)
SIGN = Seen(kind="writing", what="STOP", box=(0, 0, 1, 1), confidence=0.9, source="test", around="red", letters="white")
LIGHT = Seen(kind="light", what="normal", box=(0, 0, 1, 1), confidence=1.0, source="test")


class Says:
    """Says the same to everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, pixels: object, questions: Sequence[str]) -> list[str]:
        self.asked += questions
        return ["2"]


@pytest.mark.parametrize(
    ("question", "by_model"),
    [
        ("How many circles are there?", True),
        ("Is there a red square, yes or no?", True),
        ("What shape is the blue thing?", True),
        ("How many people are there?", False),
        ("What colour is the car?", False),
        ("Who is she?", False),
        ("What does the sign say?", False),
    ],
)
def test_only_questions_about_shapes_are_put_to_the_model(question: str, by_model: bool) -> None:
    says = Says()
    taught = Taught(says, right=0.7, first=False)  # type: ignore[arg-type]
    found = taught.answer(Scene(seen=[SIGN, LIGHT]), PIXELS, question)
    assert (says.asked == [question]) == by_model
    assert found is not None
    if by_model:
        assert found.text == "2"
        assert found.rests_on[0].confidence == 0.7
        assert "right 70% of the time on drawn scenes" in found.rests_on[0].source
    else:
        assert found.text != "2"


@stage(identity="tests.sight", makes=Path)
def kept(ctx: Context, *, text: str) -> None:
    (ctx.folder / MEASURED).write_text(text)


def home_with(tmp_path: Path, text: str) -> Path:
    store, handle = Store(tmp_path), kept(text=text)
    promote(store, NAME, resolve(handle, Place(store=store, cache=tmp_path))[handle].folder)
    return tmp_path


def test_without_a_model_that_adds_something_nobody_else_is_asked(tmp_path: Path) -> None:
    assert find_taught(tmp_path / "empty") is None
    measured = {"default": "statements", "kinds": {"all": {"right": {"model": {"value": 0.2}}}}}
    assert find_taught(home_with(tmp_path / "worse", json.dumps(measured))) is None


def test_a_model_that_does_not_say_what_it_can_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not say what it was measured to do"):
        find_taught(home_with(tmp_path, "{}"))
