"""Greetings, thanks, who the assistant is and what it cannot do: the exchanges of `smalltalk.txt`, written out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from ayllu.lab.error import UserError

PEOPLE = (
    "Ada", "Ahmed", "Aisha", "Alice", "Amir", "Ana", "Anna", "Ben", "Carlos", "Chloe", "Daniel", "David", "Elena",
    "Emma", "Fatima", "Felix", "Grace", "Hannah", "Hugo", "Ines", "Ivan", "Jack", "James", "Jana", "Julia", "Kenji",
    "Laura", "Leo", "Lena", "Lily", "Lucas", "Luis", "Maria", "Mark", "Marta", "Maya", "Mia", "Mohamed", "Nadia",
    "Nina", "Noah", "Nora", "Olga", "Omar", "Oscar", "Paul", "Pedro", "Peter", "Priya", "Rosa", "Sam", "Sara", "Sofia",
    "Tom", "Victor", "Wei", "Yuki", "Zoe",
)  # fmt: skip
PER_PERSON = 4
"""Wordings of a block with a person's name that are taken for each name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One dialogue of a topic: what is said in turn, the user first."""

    topic: str
    turns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    topic: str
    turns: tuple[tuple[str, ...], ...]
    """Wordings of each turn."""


def exchanges(name: str) -> Iterator[Exchange]:
    """Every exchange of `smalltalk.txt` for an assistant called `name`, in a fixed order."""
    for block in _blocks():
        # All wordings of the first two turns meet; later turns take their wordings in rotation.
        openings = list(itertools.product(*block.turns[:2]))
        people = PEOPLE if any("{person}" in text for turn in block.turns for text in turn) else ("",)
        for place, person in enumerate(people):
            taken = openings if not person else [openings[(place + 5 * i) % len(openings)] for i in range(PER_PERSON)]
            for number, opening in enumerate(taken):
                rest = tuple(turn[(number + place) % len(turn)] for turn in block.turns[2:])
                turns = tuple(text.format(name=name, person=person) for text in (*opening, *rest))
                yield Exchange(topic=block.topic, turns=turns)


def _blocks() -> Iterator[_Block]:
    text = (files("ayllu.data.conversations") / "smalltalk.txt").read_text(encoding="utf-8")
    topic = ""
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if line and line[0] != "#"]
        if lines and lines[0].startswith("= "):
            topic = lines[0][2:]
        elif lines:
            if [line[:2] for line in lines] != ["U ", "A "] * (len(lines) // 2):
                raise UserError(f"smalltalk.txt: U and A must alternate in the block that starts with {lines[0]}")
            yield _Block(topic=topic, turns=tuple(tuple(line[2:].split(" | ")) for line in lines))
