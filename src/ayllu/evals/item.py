"""What is asked: an item is one question with its choices, a set is the items of one published benchmark."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Row = Mapping[str, Any]
Headline = Literal["accuracy", "accuracy_norm"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One multiple-choice question in cloze form: the model sees no list of choices, it is asked how likely each is.

    The text whose likelihood counts is a choice behind one space; what comes before it is `context`, then that choice's
    lead where it has one.
    """

    id: str
    """Unique, such as `hellaswag/17` or `arc-easy/Mercury_417466`."""
    set: str
    """Name of the set."""
    context: str
    """The prompt, without space at its end."""
    choices: tuple[str, ...]
    """The continuations, without outer space."""
    gold: int
    """Index of the right choice."""
    leads: tuple[str, ...] = ()
    """Given, not scored, between context and choice, each with its own leading space: WinoGrande's two names."""
    plain: str
    """Question and right answer as running text, without the prompt's frame, as they could stand in a document."""

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that change when anything that is shown to the model, or the right answer, does."""
        content = json.dumps([self.context, self.leads, self.choices, self.gold], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        return 1 / len(self.choices)

    def texts(self) -> Iterator[tuple[str, str]]:
        """For each choice what is given and what is scored."""
        leads = self.leads or ("",) * len(self.choices)
        for lead, choice in zip(leads, self.choices, strict=True):
            yield self.context + lead, " " + choice


@dataclass(frozen=True, kw_only=True)
class ItemSet:
    """A published benchmark: where its items lie in the archive and how a row becomes an item."""

    name: str
    title: str
    part: str
    """Which part of the benchmark, and how many items it has."""
    licence: str
    """Licence of the set by its authors; the archive does not repeat it."""
    source: str
    """The paper."""
    headline: Headline
    """The accuracy that is usually quoted for this set."""
    items: int
    """Items in this part, checked when it is read."""
    parse: Callable[[Row, str], dict[str, Any]]
    """A row and its number (for several files `folder/number`) to an item's fields, `id` without the set's name."""
    member: str = ""
    """The file in the archive; with a `*`, all files that match it."""
    rows: Callable[[], Iterable[Row]] | None = None
    """Rows that lie elsewhere than in the archive, for a set of your own."""

    def item(self, row: Row, number: str) -> Item:
        """The item of one row."""
        fields = self.parse(row, number)
        fields["id"] = f"{self.name}/{fields.get('id', number)}"
        return Item(set=self.name, **fields)
