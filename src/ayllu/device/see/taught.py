"""A model that takes pictures, asked where no statement answers: about shapes, on which alone it was measured."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.data.scenes.scene import COLOURS, SHAPES
from ayllu.device.see.answer import FACES, Grounded
from ayllu.device.see.picture import Pixels
from ayllu.device.see.scene import WHOLE, Scene, Seen
from ayllu.lab.error import UserError
from ayllu.lab.progress import say

if TYPE_CHECKING:
    from torch import Tensor

    from ayllu.evals.sight.seer import Seer

NAME, MEASURED = "see", "sight.json"
"""The model that `ayllu run see` makes, and what it was measured to do."""
ALL = "all"
KEPT = "the 7 x 7 cells that the model takes of it, until the next picture or the end of the session"
"""What is kept of a picture for questions that are still to come."""
_SHAPE = rf"(?:{'|'.join(SHAPES)})(?:e?s)?"
_SHAPES = re.compile(rf"\b{_SHAPE}\b|\bwhat shape\b|\bhow many \w+ things\b")
_NAMED = rf"(?:{'|'.join(COLOURS)}) {_SHAPE}"
_WAY = r"(?:left|right|above|below|or)"
_OF_SIGHT = re.compile(
    rf"\bwhat shape (?:is|are) (?:this|that|it|these|those|the (?:\w+ ){{0,2}}(?:thing|object)s?)\b"
    rf"|\bhow many (?:\w+ )?(?:{_SHAPE}|things|objects|shapes) (?:are there|(?:do|can) you see)\b"
    rf"|\b(?:is|are) there (?:an?|any) {_NAMED}(?= here| in (?:the|this) picture|[?.,!]|$)"
    rf"|\bthe {_NAMED},? {_WAY}\b|\b{_WAY}(?: of)? the {_NAMED}\b"
)
_KINDS = (
    ("count", re.compile(r"\bhow many\b")),
    ("shape", re.compile(r"\bwhat shape\b")),
    ("colour", re.compile(r"\bcolou?rs?\b")),
    ("size", re.compile(r"\b(larg|bigg|small)\w+\b")),
    ("presence", re.compile(r"\b(is|are) there\b")),
    ("beside", re.compile(r"\bwhat is (left of|right of|above|below)\b")),
    ("direction", re.compile(r"\b(left|right|above|below)\b")),
)
"""Kinds of question that were measured apart, by their words; of several that fit the first."""


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A model that was measured to add to the statements."""

    name: str
    right: Mapping[str, float]
    """Share of its answers that were right on held-out drawn scenes, by kind of question and over all."""
    beaten: frozenset[str] = frozenset()
    """Kinds of question about which whoever always gives the usual answer was right more often: it is not asked."""
    first: bool
    """Whether it is asked before the statements, which it was better than."""
    seer: Callable[[], Seer]
    """Gives the model, which the first call loads. Raises UserError where it is damaged."""

    @property
    def summary(self) -> str:
        """What it is asked and how far it can be believed, in a line."""
        return f"{self.name} guesses about shapes in pictures, right {self.right[ALL]:.0%} of the time on drawn scenes"

    def view(self, scene: Scene, pixels_HW3: Pixels) -> Scene:
        """The scene with what the model takes of its picture; without it where there is too little to see."""
        if scene.blind:
            return scene
        return replace(scene, glimpse=Glimpse(taught=self, cells_IF=self.seer().view(pixels_HW3)))

    def share(self, question: str) -> tuple[float, str]:
        """How often it is right about questions of that kind, and the kind; that of all where it was not measured."""
        text = question.lower()
        kind = next((kind for kind, words in _KINDS if words.search(text) and kind in self.right), ALL)
        return self.right[kind], kind


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """A picture as a model takes it: features of its cells, from which the picture cannot be had back but coarsely."""

    taught: Taught
    cells_IF: Tensor

    def is_asked(self, stated: Grounded | None, question: str) -> bool:
        """Whether the model answers a question that the statements have answered so: about shapes alone, of a kind
        that it knows something of, and never about faces."""
        silent = stated is None or not stated.rests_on
        faces = stated is not None and stated.text == FACES
        asked = about_shapes(question) and self.taught.share(question)[1] not in self.taught.beaten
        return asked and not faces and (silent or self.taught.first)

    def guess(self, question: str) -> Grounded | None:
        """What the model says, told as its guess; None where it says nothing. UserError for too long a question."""
        (text,) = self.taught.seer().answer(self.cells_IF, [question])
        if not text:
            return None
        right, kind = self.taught.share(question)
        asked = "" if kind == ALL else f" when asked for {kind}"
        source = f"a guess of the model {self.taught.name}, right {right:.0%} of the time{asked} on drawn scenes"
        told = Seen(kind="guess", what=text, box=WHOLE, confidence=round(right, 3), source=source)
        return Grounded(text=f"My guess is {text}.", rests_on=[told])


def about_shapes(question: str) -> bool:
    """Whether a question about a picture is one about shapes."""
    return bool(_SHAPES.search(question.lower()))


def shapes_in_sight(words: str) -> bool:
    """Whether words without a picture ask about shapes that can be seen: "the square of four" does not."""
    return bool(_OF_SIGHT.search(words.lower()))


def find_taught(home: Path) -> Taught | None:
    """The model `see` of this lab, where there is one that was measured to add to the statements. UserError for
    damage."""
    from ayllu.lab.channel import NoSuchName, follow
    from ayllu.lab.store import Store

    try:
        folder = follow(Store(home, writes=False), NAME)
    except NoSuchName:
        return None
    return taught_in(folder, NAME)


def taught_in(folder: Path, name: str) -> Taught | None:
    """The model in a folder, where it takes pictures and was measured to add to the statements. UserError for damage;
    its weights are not read before they are asked for."""
    from ayllu.model.sight.files import sees

    if not sees(folder):
        return None
    try:
        measured = json.loads((folder / MEASURED).read_text())
        default = str(measured["default"])
        right, usual = (
            {kind: float(row["right"][who]["value"]) for kind, row in measured["kinds"].items()}
            for who in ("model", "usual answer")
        )
        beaten = frozenset(kind for kind in right if kind != ALL and right[kind] < usual[kind])
        right[ALL]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{name} does not say what it was measured to do: make it again with `ayllu run see`"
        ) from error
    if default == "statements":
        say(f"{name} takes pictures, but was measured to add nothing to the statements, so it is not asked about them")
        return None
    seer = functools.cache(lambda: _loaded(folder))
    return Taught(name=name, right=right, beaten=beaten, first=default == "model", seer=seer)


def _loaded(folder: Path) -> Seer:
    from ayllu.evals.sight.seer import Seer
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    try:
        return Seer.load(folder, hf.load(folder), Tokenizer.load(folder))
    except ValueError as error:
        raise UserError(f"{error}: make it again with `ayllu run see`") from error
