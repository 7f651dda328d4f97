"""What is asked in a standard set: a task makes prompts from rows, and verdicts from what a model answers.

Four response modes, and figures compare only within one: `rank` (which choice is likeliest), `likelihood` (one
continuation: how likely it is, and whether greedy decoding writes it), `rolling` (a whole text) and `generate` (text
that a checker judges).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Row = Mapping[str, Any]
Mode = Literal["rank", "likelihood", "rolling", "generate"]
HARNESS = "0.4.13"
"""The version of lm-evaluation-harness whose prompts and metrics these are."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question: pairs of what is given and what is scored, or only what is given where text is generated."""

    pairs: tuple[tuple[str, str], ...]
    gold: int = 0
    """Which pair is the right one; for `rank` alone."""
    sizes: tuple[int, ...] = ()
    """Characters of each choice, without what parts it from the prompt: lm-eval's `acc_norm` divides by them."""
    bytes: tuple[int, ...] = ()
    """UTF-8 bytes of the same; of a whole text, with `words`, for `rolling`."""
    words: int = 0


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One item of a task, ready to be put to a model."""

    id: str
    task: str
    asked: Asked
    row: Row
    """The published fields, which a checker reads."""
    plain: str = ""
    """Question and right answer as running text, as they could stand in a document."""

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change when anything that is shown to the model, or the right answer, does."""
        content = json.dumps([self.asked.pairs, self.asked.gold], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """When generated text ends."""

    until: tuple[str, ...] = ()
    """Texts that end an answer and are no part of it; so does the model's end of text."""
    most: int = 256
    """Most tokens."""


@dataclass(frozen=True, kw_only=True)
class Shots:
    """Solved examples before a question."""

    number: int
    """How many, where nothing else is asked for."""
    examples: Callable[[Any, Row], Sequence[Row]]
    """Rows to take them from, given the reader of rows and the row that is asked."""
    write: Callable[[Row], str]
    """An example as text, without what parts it from the next."""
    drawn: bool = False
    """Whether they are drawn for each item (seed 1234, as lm-eval draws), not the first ones."""
    in_data: bool = True
    """Whether they lie in the set's data, not in lm-eval's own files."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A published set and how it is asked."""

    name: str
    """lm-eval's name where it has the task."""
    title: str
    part: str
    """Which part of the set."""
    licence: str
    """Licence of the set by its authors."""
    source: str
    """The paper."""
    mode: Mode
    rows: Callable[[Any], Sequence[Row]]
    """All rows, in their own order, given the reader (`rows.Reader`)."""
    items: int
    """How many there are, checked when they are read."""
    ask: Callable[[Row], Asked]
    metrics: tuple[str, ...]
    """The first is the one that is usually quoted."""
    plain: Callable[[Row], str]
    head: Callable[[Row], str] = lambda row: ""
    """What stands before the examples."""
    shots: Shots | None = None
    generation: Generation = field(default_factory=Generation)
    check: Callable[[Row, str], Mapping[str, float]] | None = None
    """Generated text to the value of each metric."""
    cluster: str = ""
    """A field of the row; items that share it are not independent, and intervals widen with that."""
    needs: tuple[str, ...] = ()
    """Files that the user names (`rows.FILES`)."""
    harness: str = ""
    """The task's file in lm-eval's folder `tasks`, with fields of the row in braces; empty where lm-eval has none."""
    program: Callable[[Row, str], str] | None = None
    """Generated text to a program that ends well where it is right; only a sandbox runs it, for the metric pass@1."""

    @property
    def default_shots(self) -> int:
        """Examples before each question where nothing else is asked for."""
        return self.shots.number if self.shots else 0
