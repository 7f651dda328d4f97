"""A model that takes pictures answers about shapes alone, and only where it was measured to add something."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from ayllu.assistant.tools.tool import call_tool
from ayllu.data.archive import default_cache
from ayllu.device.see.answer import CANNOT, FACES
from ayllu.device.see.eyes import Eyes
from ayllu.device.see.scene import Scene, Seen
from ayllu.device.see.taught import MEASURED, NAME, Taught, find_taught, shapes_in_sight, taught_in
from ayllu.device.see.tool import answered, look_tool
from ayllu.lab.channel import promote
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.model.sight.files import EYES, PROJECTOR
from support.parts import need_module
from support.pictures import jpeg, sign
from support.training.seeing import QUESTION, circle, jpeg_of, save_seeing_model

if TYPE_CHECKING:
    from ayllu.evals.sight.seer import Seer

PIXELS = np.zeros((8, 8, 3), np.uint8)
SIGN = Seen(kind="writing", what="STOP", box=(0, 0, 1, 1), confidence=0.9, source="test", around="red", letters="white")
LIGHT = Seen(kind="light", what="normal", box=(0, 0, 1, 1), confidence=1.0, source="test")
RIGHT = {"all": 0.7, "count": 0.4, "direction": 0.2}


class Says:
    """Says the same to everything, and keeps what it was asked."""

    def __init__(self, text: str = "2") -> None:
        self.text, self.asked = text, list[str]()

    def view(self, pixels_HW3: np.ndarray) -> np.ndarray:
        return pixels_HW3

    def answer(self, cells: object, questions: Sequence[str]) -> list[str]:
        self.asked += questions
        return [self.text]


def taught_by(says: Says) -> Taught:
    return Taught(name="tiny", right=RIGHT, first=False, seer=lambda: cast("Seer", says))


@pytest.mark.parametrize(
    ("question", "by_model"),
    [
        ("How many circles are there?", True),
        ("Is there a red square, yes or no?", True),
        ("What shape is the blue thing?", True),
        ("How many people are there?", False),
        ("What colour is the car?", False),
        ("Who is she?", False),
        ("Who is she, beside the star?", False),
        ("What does the sign say?", False),
    ],
)
def test_only_questions_about_shapes_are_put_to_the_model(question: str, by_model: bool) -> None:
    says = Says()
    found = answered(taught_by(says).view(Scene(seen=[SIGN, LIGHT]), PIXELS), question)
    assert (says.asked == [question]) == by_model
    if by_model:
        assert found.text == "My guess is 2."
        assert found.rests_on[0].kind == "guess"
    else:
        assert "guess" not in found.text
    if "Who" in question:
        assert found.text == FACES


@pytest.mark.parametrize(
    ("question", "right", "told"),
    [
        ("How many circles are there?", 0.4, "right 40% of the time when asked for count on drawn scenes"),
        ("Is the star left, right, above or below the cross?", 0.2, "right 20% of the time when asked for direction"),
        ("What shape is the blue thing?", 0.7, "right 70% of the time on drawn scenes"),
    ],
)
def test_a_guess_says_how_often_such_guesses_are_right(question: str, right: float, told: str) -> None:
    (guess,) = answered(taught_by(Says()).view(Scene(seen=[LIGHT]), PIXELS), question).rests_on
    assert guess.confidence == right
    assert told in guess.source


def test_a_model_that_says_nothing_or_sees_too_little_is_no_support() -> None:
    dark = Seen(kind="light", what="dark", box=(0, 0, 1, 1), confidence=1.0, source="test")
    for says, scene in ((Says(""), Scene(seen=[LIGHT])), (Says(), Scene(seen=[dark]))):
        assert answered(taught_by(says).view(scene, PIXELS), "How many circles are there?").text == CANNOT


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ("What shape is the blue thing?", True),
        ("How many red circles are there?", True),
        ("Is there a green star, yes or no?", True),
        ("Is the red circle left of the blue square?", True),
        ("Which is larger, the red circle or the blue square?", True),
        ("What is the square root of sixteen?", False),
        ("How do I cross the road?", False),
        ("What shape is the economy in?", False),
        ("Is there a Red Cross office in town?", False),
        ("How many stars does that film have?", False),
    ],
)
def test_words_without_a_picture_take_one_only_where_they_ask_what_can_be_seen(words: str, asks: bool) -> None:
    assert shapes_in_sight(words) == asks


def test_the_assistant_s_tool_marks_what_its_model_guesses(tmp_path: Path) -> None:
    for name in ("onnx", "onnxruntime", "rapidocr"):
        need_module(name, f"the eyes need {name}")
    taught = taught_in(save_seeing_model(tmp_path / "model"), "tiny")
    picture, eyes = tmp_path / "seen.jpg", Eyes(default_cache())
    tool = look_tool(picture, lambda: eyes, taught)
    picture.write_bytes(jpeg_of(circle("blue", x=0.4)))
    found = asyncio.run(call_tool(tool, {"question": QUESTION}))
    assert found.say == "My guess is blue."
    guess = "a guess of the model tiny, right 75% of the time when asked for colour on drawn scenes: blue"
    assert f"- {guess}\n" in found.text
    assert [citation.passage for citation in found.citations] == [guess]
    picture.write_bytes(jpeg(sign("Platform 4")))
    found = asyncio.run(call_tool(tool, {"question": "What does the sign say?"}))
    assert found.say is not None and found.say.startswith("It says")
    assert "guess" not in found.text
    picture.write_bytes(jpeg_of(circle("blue")))
    found = asyncio.run(call_tool(look_tool(picture, lambda: eyes), {"question": QUESTION}))
    assert found.say == CANNOT  # of a model that does not see


@stage(identity="tests.sight", makes=Path)
def kept(ctx: Context, *, text: str) -> None:
    for name, content in ((MEASURED, text), (EYES, ""), (PROJECTOR, "")):
        (ctx.folder / name).write_text(content)


def home_with(tmp_path: Path, text: str) -> Path:
    store, handle = Store(tmp_path), kept(text=text)
    promote(store, NAME, resolve(handle, Place(store=store, cache=tmp_path))[handle].folder)
    return tmp_path


def test_without_a_model_that_adds_something_nobody_else_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_taught(tmp_path / "empty") is None
    assert taught_in(tmp_path, "text alone") is None
    assert capsys.readouterr().err == ""
    right = {"model": {"value": 0.2}, "usual answer": {"value": 0.3}}
    measured = {"default": "statements", "kinds": {"all": {"right": right}}}
    assert find_taught(home_with(tmp_path / "worse", json.dumps(measured))) is None
    assert "see takes pictures, but was measured to add nothing" in capsys.readouterr().err


def test_of_a_kind_that_the_usual_answer_knows_better_it_is_not_asked(tmp_path: Path) -> None:
    def row(model: float, usual: float) -> dict[str, object]:
        return {"right": {"model": {"value": model}, "usual answer": {"value": usual}}}

    kinds = {"all": row(0.37, 0.25), "count": row(0.47, 0.43), "direction": row(0.22, 0.28)}
    taught = find_taught(home_with(tmp_path, json.dumps({"default": "both", "kinds": kinds})))
    assert taught is not None
    says = Says("above")
    scene = replace(taught, seer=lambda: cast("Seer", says)).view(Scene(seen=[LIGHT]), PIXELS)
    assert answered(scene, "Is the red star left, right, above or below the blue cross?").text == CANNOT
    assert answered(scene, "How many circles are there?").text == "My guess is above."
    assert says.asked == ["How many circles are there?"]


def test_a_model_that_does_not_say_what_it_can_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not say what it was measured to do"):
        find_taught(home_with(tmp_path, "{}"))


def test_damaged_eyes_are_told_in_a_sentence(tmp_path: Path) -> None:
    folder = save_seeing_model(tmp_path)
    (folder / EYES).write_bytes((folder / EYES).read_bytes()[:1000])
    taught = taught_in(folder, "tiny")
    assert taught is not None
    with pytest.raises(UserError, match="holds no eyes that can be read: make it again with `ayllu run see`"):
        taught.seer()
