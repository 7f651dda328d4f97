"""Questions about a scene, each with the one answer that its truth gives; None where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from ayllu.data.scenes.scene import COLOURS, SHAPES, Scene, Thing
from ayllu.data.scenes.words import WORDS

CLEARLY = 0.06
"""By how much of the picture's side one place must differ from another, so that nobody takes one for the other."""
LARGER = 1.25
"""How many times as wide a thing is that is larger."""
SLANT = 1.6
"""How many times as far one thing lies from another along one axis as along the other, to lie in that direction."""


FORM = {"count": "Answer with the number only.", "word": "Answer with the word only."}


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked, and what is right."""

    kind: str
    text: str
    answer: str
    wrong: tuple[str, ...]
    """Other answers of the same form."""
    closed: bool = False
    """Whether the question names all answers."""

    @property
    def form(self) -> str:
        """What may stand behind the question, for who would say more than the answer."""
        return FORM.get(self.kind, "Answer in one or two words.")


def count(rng: Random, scene: Scene) -> Question | None:
    """Of things of a colour, of a shape, or all; of a colour that is not there it is 0."""
    way = rng.choice(("colour", "shape", "all"))
    if way == "all":
        return _count("things", len(scene.things))
    kinds = tuple(COLOURS) if way == "colour" else SHAPES
    there = [getattr(thing, way) for thing in scene.things]
    chosen = rng.choice(there) if rng.random() < 0.85 else rng.choice(kinds)
    return _count(f"{chosen} things" if way == "colour" else _plural(chosen), there.count(chosen))


def _count(what: str, number: int) -> Question:
    near = [value for value in range(max(0, number - 2), number + 3) if value != number]
    return Question(
        kind="count", text=f"How many {what} are there?", answer=str(number), wrong=tuple(map(str, near[:4]))
    )


def colour(rng: Random, scene: Scene) -> Question | None:
    """Of the one thing of a shape, or the leftmost of them."""
    chosen = _one(rng, scene, "shape")
    if chosen is None:
        return None
    thing, which = chosen
    wrong = tuple(name for name in COLOURS if name != thing.colour)
    return Question(kind="colour", text=f"What colour is the {which}{thing.shape}?", answer=thing.colour, wrong=wrong)


def shape(rng: Random, scene: Scene) -> Question | None:
    """Of the one thing of a colour, or the leftmost of them."""
    chosen = _one(rng, scene, "colour")
    if chosen is None:
        return None
    thing, which = chosen
    wrong = tuple(name for name in SHAPES if name != thing.shape)
    text = f"What shape is the {which}{thing.colour} thing?"
    return Question(kind="shape", text=text, answer=thing.shape, wrong=wrong)


def _one(rng: Random, scene: Scene, field: str) -> tuple[Thing, str] | None:
    """A thing that is named by its colour or shape, alone or as the leftmost of several."""
    value = getattr(rng.choice(scene.things), field)
    alike = sorted((thing for thing in scene.things if getattr(thing, field) == value), key=lambda thing: thing.x)
    if len(alike) == 1:
        return alike[0], ""
    return (alike[0], "leftmost ") if alike[1].x - alike[0].x >= CLEARLY else None


def direction(rng: Random, scene: Scene) -> Question | None:
    """In which of four directions one thing lies from another."""
    pair = _two(rng, scene)
    if pair is None:
        return None
    thing, other = pair
    across, along = thing.x - other.x, thing.y - other.y
    wide, high = abs(across), abs(along)
    if max(wide, high) < max(SLANT * min(wide, high), CLEARLY):
        return None
    answer = ("left" if across < 0 else "right") if wide > high else ("above" if along < 0 else "below")
    text = f"Is the {thing.name} left, right, above or below the {other.name}?"
    ways = ("left", "right", "above", "below")
    return Question(
        kind="direction", text=text, answer=answer, wrong=tuple(way for way in ways if way != answer), closed=True
    )


def beside(rng: Random, scene: Scene) -> Question | None:
    """The one thing that lies on a side of another."""
    named = _unique(scene)
    if not named:
        return None
    thing, (word, axis, sign) = rng.choice(named), rng.choice(SIDES)
    ways = [sign * (getattr(other, axis) - getattr(thing, axis)) for other in scene.things if other is not thing]
    others = [other for other in scene.things if other is not thing]
    there = [other for other, way in zip(others, ways, strict=True) if way > 0]
    if len(there) != 1 or any(abs(way) < CLEARLY for way in ways):
        return None
    wrong = [f"{there[0].colour} {other}" for other in SHAPES] + [f"{tint} {there[0].shape}" for tint in COLOURS]
    wrong = [name for name in wrong if name != there[0].name]
    text = f"What is {word} the {thing.name}?"
    return Question(kind="beside", text=text, answer=there[0].name, wrong=tuple(rng.sample(wrong, 3)))


SIDES = (("left of", "x", -1), ("right of", "x", 1), ("above", "y", -1), ("below", "y", 1))


def size(rng: Random, scene: Scene) -> Question | None:
    """Which of two things is larger."""
    pair = _two(rng, scene)
    if pair is None or max(one.size for one in pair) < LARGER * min(one.size for one in pair):
        return None
    smaller, larger = sorted(pair, key=lambda thing: thing.size)
    text = f"Which is larger, the {pair[0].name} or the {pair[1].name}?"
    return Question(kind="size", text=text, answer=larger.name, wrong=(smaller.name,), closed=True)


def presence(rng: Random, scene: Scene) -> Question | None:
    """Whether there is such a thing; as often as not its colour and its shape are there, but not together."""
    names = {thing.name for thing in scene.things}
    if rng.random() < 0.5:
        return _presence(rng.choice(sorted(names)), there=True)
    tints, shapes = ({getattr(thing, field) for thing in scene.things} for field in ("colour", "shape"))
    other = [rng.choice(sorted(set(COLOURS) - tints) or [""]), rng.choice(sorted(set(SHAPES) - shapes) or [""])]
    pairs = [(tint, form) for tint in sorted({*tints, other[0]} - {""}) for form in sorted({*shapes, other[1]} - {""})]
    missing = [name for pair in pairs if (name := " ".join(pair)) not in names]
    return _presence(rng.choice(missing), there=False) if missing else None


def _presence(name: str, *, there: bool) -> Question:
    article = "an" if name[0] == "o" else "a"
    answer, wrong = ("yes", "no") if there else ("no", "yes")
    text = f"Is there {article} {name}, yes or no?"
    return Question(kind="presence", text=text, answer=answer, wrong=(wrong,), closed=True)


def word(rng: Random, scene: Scene) -> Question | None:
    """What is written."""
    if scene.writing is None:
        return None
    right = scene.writing.word
    alike = [other for other in WORDS if len(other) == len(right) and other != right]
    mixed = {"".join(rng.sample(right, len(right))) for _ in range(20)} - {right}
    wrong = rng.sample(alike, 3) if len(alike) > 2 else sorted(mixed)[:3]
    return Question(kind="word", text="Which word is written in the picture?", answer=right, wrong=tuple(wrong))


def _unique(scene: Scene) -> list[Thing]:
    """Things that colour and shape name."""
    names = Counter(thing.name for thing in scene.things)
    return [thing for thing in scene.things if names[thing.name] == 1]


def _two(rng: Random, scene: Scene) -> tuple[Thing, Thing] | None:
    named = _unique(scene)
    if len(named) < 2:
        return None
    one, other = rng.sample(named, 2)
    return one, other


def _plural(form: str) -> str:
    return f"{form}es" if form == "cross" else f"{form}s"


KINDS: Mapping[str, Callable[[Random, Scene], Question | None]] = {
    function.__name__: function for function in (count, colour, shape, direction, beside, size, presence, word)
}


def ask_all(rng: Random, scene: Scene, tries: int = 6) -> list[Question]:
    """One question of each kind that the scene can be asked."""
    found = []
    for kind in KINDS.values():
        drawn = next((question for _ in range(tries) if (question := kind(rng, scene)) is not None), None)
        found += [drawn] if drawn is not None else []
    return found
