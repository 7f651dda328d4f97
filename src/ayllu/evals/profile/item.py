"""One generated question of the profile: what is asked, how hard it is, and what a right answer is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from random import Random
from typing import Any, Literal

from ayllu.evals.item import Item

Mode = Literal["rank", "gen"]
"""How an answer is had: the likeliest of the choices, or the text that is generated."""
Check = Literal["text", "number", "distinct", "descending"]

EASIEST, HARDEST = 1, 30
"""Ends of the scale of difficulty."""
LEVELS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 26, 30)
"""Where the scale is asked: denser at the easy end, where small models live."""
HALF = 0.5
"""What items of two kinds, such as answerable questions and others, are worth to who always gives one answer."""
SEED = "ayllu-profile-2"
"""What items are drawn from unless another seed is given. Changing it changes every item."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What a generator makes of a level: an item without its place in the profile."""

    question: str
    """With the form of the answer, such as "Answer with the number only."."""
    answer: str
    wrong: Sequence[str] = ()
    """Other choices, as long as the right one where that can be; none: the item cannot be ranked."""
    check: Check = "text"
    closed: bool = False
    """Whether the question names all choices, so that who guesses is right now and then in a generated text too."""
    turns: Sequence[tuple[str, str]] = ()
    """Earlier turns of the conversation: (user or assistant, what was said)."""
    before: str = ""
    """What was told in an earlier conversation, of which nothing stands in this one."""
    seconds: float | None = None
    """The answer must be there after so long."""
    examples: int | None = None
    """Solved examples in the question."""
    group: str = ""
    """Items of one group, such as those with one invented rule, are not independent."""
    kind: str = ""
    """Which of two kinds of items, as many of either, this is; to all of one kind the same answer is right."""
    scene: str = ""
    """The scene of a question about a picture, as `ayllu.data.scenes.scene.read_scene` takes it."""


Generator = Callable[[Random, int], Draft]
"""A level, from 1 to 30, and what it draws from, to an item."""


@dataclass(frozen=True, kw_only=True)
class ProfileItem:
    """A question with its place: row, generator, level."""

    id: str
    """Such as `mathematics/addition/12/0`."""
    row: str
    generator: str
    level: int
    question: str
    answer: str
    choices: tuple[str, ...]
    gold: int
    check: Check
    closed: bool
    turns: tuple[tuple[str, str], ...]
    before: str
    seconds: float | None
    examples: int | None
    group: str
    kind: str
    scene: str = ""

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over all that is shown and counts as right."""
        return hashlib.sha256(json.dumps(self.as_json(), ensure_ascii=False).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Row and generator."""
        return f"{self.row}/{self.generator}"

    def guess(self, mode: Mode) -> float:
        """How often who guesses is right."""
        return 1 / len(self.choices) if self.choices and (mode == "rank" or self.closed) else 0.0

    def chance(self, mode: Mode) -> float:
        """How often who guesses is right, or who always says the same where that is right half the time."""
        return max(self.guess(mode), HALF if self.kind else 0.0)

    @property
    def asked(self) -> tuple[object, ...]:
        """All that is shown: equal for two items that ask the same."""
        return self.row, self.generator, self.level, self.question, self.turns, self.before, self.scene

    @property
    def plain(self) -> str:
        """The whole conversation as text without a chat format, up to where the answer begins."""
        if not self.turns:
            return f"Question: {self.question}\nAnswer:"
        words = {"user": "User", "assistant": "Assistant"}
        said = "".join(f"{words[role]}: {text}\n" for role, text in self.turns)
        return f"{said}User: {self.question}\nAssistant:"

    @property
    def room(self) -> int:
        """Ids that an answer may have in a model without a chat format: one a character, and some for a lead."""
        return 24 + len(self.answer)

    def as_choice(self) -> Item:
        """The item as `ayllu.evals.likelihood` ranks it."""
        shown = self.choices or (self.answer,)
        plain = f"{self.plain} {self.answer}"
        return Item(id=self.id, set=self.row, context=self.plain, choices=shown, gold=self.gold, plain=plain)

    def as_json(self) -> dict[str, Any]:
        """All fields by name, the scene where there is one."""
        fields = asdict(self)
        return fields if self.scene else {name: value for name, value in fields.items() if name != "scene"}


def make_item(
    row: str, generator: str, function: Generator, level: int, number: int, seed: str, *, shared: bool = False
) -> ProfileItem:
    """The item that `seed` gives in this place: the same on every machine.

    Where it is `shared`, all generators of a row draw the same.
    """
    place = f"{row}/{generator}/{level}/{number}"
    rng = Random(f"{seed}/{row}/{level}/{number}" if shared else f"{seed}/{place}")
    draft = function(rng, level)
    wrong = [choice for choice in dict.fromkeys(draft.wrong) if choice != draft.answer]
    choices = [draft.answer, *wrong] if wrong else []
    rng.shuffle(choices)
    return ProfileItem(
        id=place,
        row=row,
        generator=generator,
        level=level,
        question=draft.question,
        answer=draft.answer,
        choices=tuple(choices),
        gold=choices.index(draft.answer) if choices else 0,
        check=draft.check,
        closed=draft.closed,
        turns=tuple(draft.turns),
        before=draft.before,
        seconds=draft.seconds,
        examples=draft.examples,
        group=f"{row}/{draft.group}" if draft.group else place,
        kind=draft.kind,
        scene=draft.scene,
    )
