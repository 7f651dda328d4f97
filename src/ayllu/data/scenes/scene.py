"""A scene before it is drawn: what lies where, from a seed and a level of difficulty; training and held-out scenes are
apart in the draw itself.

Lengths are parts of the picture's side, positions are centres from the top left corner.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Literal

from ayllu.data.scenes.words import WORDS, invented

Side = Literal["train", "heldout"]

EASIEST, HARDEST = 1, 30
"""Ends of the dial: one large shape on one colour; some forty small, faint and turned ones on a noisy photograph."""
SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 32, 32),
    "orange": (240, 132, 16),
    "yellow": (240, 220, 40),
    "green": (32, 150, 56),
    "blue": (36, 80, 210),
    "purple": (124, 44, 160),
    "brown": (120, 72, 32),
    "black": (24, 24, 24),
}
GROUNDS = ((255, 255, 255), (222, 222, 222), (190, 190, 190), (250, 238, 214), (214, 230, 240))
"""Of one colour, none of which a thing has."""
PHOTOS: Mapping[Side, tuple[str, ...]] = {
    "train": ("brick", "camera", "coffee", "grass", "hubble_deep_field", "rocket"),
    "heldout": ("chelsea", "gravel", "moon"),
}
FONTS = ("sans", "sans-bold", "serif", "serif-bold", "mono", "mono-bold")
HELD_OUT = 5
"""One composition in so many is held out."""
BAND = 0.2
"""Height of the strip that writing has to itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """A coloured shape."""

    shape: str
    colour: str
    x: float
    y: float
    size: float
    """Width of the square that it fills."""
    turn: float
    """Degrees."""

    @property
    def name(self) -> str:
        """Such as `red circle`."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Writing:
    """A word across the picture."""

    word: str
    font: str
    x: float
    y: float
    size: float
    """Height of the letters' line."""
    turn: float
    """Degrees."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """All that a picture is drawn from."""

    things: tuple[Thing, ...]
    writing: Writing | None
    ground: tuple[int, int, int]
    photo: str
    """What lies behind everything; empty for one colour."""
    strength: float
    """How much of the things hides what is behind them, 0 to 1."""
    noise: float
    """Standard deviation of the noise on every pixel, of 255."""
    seed: int
    """Draws the noise and the shades of the colours."""

    def as_text(self) -> str:
        """JSON on one line, from which `read_scene` makes the same scene."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read_scene(text: str) -> Scene:
    """What `as_text` gave. Raises ValueError, KeyError or TypeError for anything else."""
    fields: dict[str, Any] = json.loads(text)
    writing = fields["writing"]
    return Scene(
        **fields
        | {
            "things": tuple(Thing(**thing) for thing in fields["things"]),
            "writing": Writing(**writing) if writing else None,
            "ground": tuple(fields["ground"]),
        }
    )


def draw_scene(rng: Random, level: int, side: Side, *, written: bool) -> Scene:
    """A scene of a level (1 to 30) on its side of the split; with a word where it is `written`.

    What is in a held-out scene (colours with shapes, and how many of each) or its word is in no training scene.
    """
    while True:
        scene = _draw(rng, level, side, written=written)
        # A held-out scene must be new in each part: else its word, or its things, might have been learnt.
        parts = [_held_out(sorted(thing.name for thing in scene.things))]
        parts += [_held_out(scene.writing.word)] if scene.writing else []
        if all(held == (side == "heldout") for held in parts):
            return scene


def _draw(rng: Random, level: int, side: Side, *, written: bool) -> Scene:
    things = _things(rng, level, top=BAND if written else 0.0)
    photo = rng.choice(PHOTOS[side]) if rng.random() < min(1.0, level / 12) else ""
    return Scene(
        things=things,
        writing=_writing(rng, level) if written else None,
        ground=rng.choice(GROUNDS),
        photo=photo,
        strength=round(1 - 0.6 * (level - 1) / 29, 3),
        noise=round(60 * ((level - 1) / 29) ** 1.5, 1),
        seed=rng.randrange(1 << 30),
    )


def _things(rng: Random, level: int, *, top: float) -> tuple[Thing, ...]:
    """Each in a cell of its own of a grid below `top`, so that none hides another."""
    count = rng.randint(max(1, round(0.8 * level)), 1 + round(1.3 * (level - 1)))
    grid = max(3, math.ceil(math.sqrt(1.25 * count)))
    cells = rng.sample([(row, column) for row in range(grid) for column in range(grid)], count)
    width, height = 1 / grid, (1 - top) / grid
    found = []
    for row, column in cells:
        size = rng.uniform(0.45, 0.9) * height
        x, y = ((at + 0.5) * cell for at, cell in ((column, width), (row, height)))
        x += rng.uniform(-0.5, 0.5) * (width - size)
        y += top + rng.uniform(-0.5, 0.5) * (height - size)
        turn = rng.uniform(-1, 1) * min(40.0, 3.0 * (level - 1))
        place = {"x": round(x, 4), "y": round(y, 4), "size": round(size, 4), "turn": round(turn, 1)}
        found.append(Thing(shape=rng.choice(SHAPES), colour=rng.choice(tuple(COLOURS)), **place))
    return tuple(found)


def _writing(rng: Random, level: int) -> Writing:
    """A short common word in large letters, and from level 13 on ever longer ones that nobody knows, ever smaller."""
    longest = 3 + level // 2
    known = [word for word in WORDS if len(word) <= longest]
    word = rng.choice(known) if level < 13 else invented(rng, level // 4)
    size = 0.15 * 0.93 ** (level - 1)
    return Writing(
        word=word,
        font=rng.choice(FONTS),
        x=round(0.5 + rng.uniform(-0.1, 0.1), 3),
        y=round(BAND / 2, 3),
        size=round(size, 4),
        turn=round(rng.uniform(-1, 1) * min(8.0, 0.5 * (level - 1)), 1),
    )


def _held_out(content: Sequence[str] | str) -> bool:
    digest = hashlib.sha256(json.dumps(content).encode()).digest()
    return content != "" and int.from_bytes(digest[:4]) % HELD_OUT == 0
