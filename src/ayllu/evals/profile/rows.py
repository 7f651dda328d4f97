"""The rows of the profile: ten domains after Cattell, Horn and Carroll, and five that no other harness has.

The ten are those of "A Definition of AGI" (arXiv:2510.18212), after the Cattell-Horn-Carroll theory of human abilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ayllu.evals.profile.generators import (
    conduct,
    invented_rule,
    knowledge,
    long_term,
    mathematics,
    reading_writing,
    reasoning,
    speed,
    visual,
    working_memory,
)
from ayllu.evals.profile.item import LEVELS, SEED, Generator, ProfileItem, make_item
from ayllu.evals.suite import items_digest
from ayllu.lab.error import UserError

ITEMS = 2
"""Items of each generator at each level, or fewer where there are not as many questions."""
RULE_LEVELS = (1, 2, 3, 4, 6, 9, 12, 15)
"""Levels of invented rules: one change of a word to six; each is asked six times, with 0 to 16 examples."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: what it is about, and what makes its items."""

    name: str
    title: str
    generators: Mapping[str, Generator]
    reason: str = ""
    """Why a text model alone has no value here; printed instead of one."""
    levels: Sequence[int] = LEVELS
    pictures: bool = False
    """Whether its questions are about pictures: only those who see are asked."""
    shared: bool = False
    """Whether all generators of the row draw the same: the same rule, with few and with many examples."""


NO_EYES = "a model of text sees no pictures; `ayllu run see` makes one that does"
NO_MEMORY = "the model alone keeps nothing between conversations; it is measured where there is a memory"
TEN = (
    Row(name="knowledge", title="Knowledge", generators=knowledge.GENERATORS),
    Row(name="reading_writing", title="Reading and writing", generators=reading_writing.GENERATORS),
    Row(name="mathematics", title="Mathematics", generators=mathematics.GENERATORS),
    Row(name="on_the_spot_reasoning", title="On-the-spot reasoning", generators=reasoning.GENERATORS),
    Row(name="working_memory", title="Working memory", generators=working_memory.GENERATORS),
    Row(name="long_term_storage", title="Long-term storage", generators=long_term.STORAGE, reason=NO_MEMORY),
    Row(name="long_term_retrieval", title="Long-term retrieval", generators=long_term.RETRIEVAL),
    Row(name="visual", title="Visual", generators=visual.GENERATORS, reason=NO_EYES, pictures=True),
    Row(name="auditory", title="Auditory", generators={}, reason="no items with sound are made yet"),
    Row(name="speed", title="Speed", generators=speed.GENERATORS),
)
FURTHER = (
    Row(name="learning", title="Learning a rule", generators=invented_rule.GENERATORS, levels=RULE_LEVELS, shared=True),
    Row(name="knowing_limits", title="Knowing its limits", generators=conduct.KNOWING_LIMITS),
    Row(name="correction", title="Keeping a correction", generators=conduct.CORRECTION),
    Row(name="habit", title="Instruction against habit", generators=conduct.HABIT),
)
"""Rows beside the ten: they have the same scale, and enter no claim about the ten."""
ROWS = {row.name: row for row in (*TEN, *FURTHER)}
BY_TIME, BY_MEMORY, BY_EXAMPLES = "speed", "long_term_storage", "learning"
"""Rows that are asked in a way of their own."""


def make_items(
    rows: Sequence[str] | None = None, *, each: int = ITEMS, seed: str = SEED, pictures: bool = False
) -> tuple[ProfileItem, ...]:
    """The items of the rows (None: all), `each` of every generator at every level. UserError for what there is not.

    Questions about pictures only with `pictures`.
    Where a level has few questions, one that was drawn already is not asked again: a second answer would say nothing.
    """
    if each < 1:
        raise UserError(f"a profile of {each} items a level measures nothing: ask for at least 1")
    chosen = [find_row(name) for name in rows] if rows is not None else list(ROWS.values())
    drawn = (
        make_item(row.name, name, function, level, number, seed, shared=row.shared)
        for row in chosen
        if pictures or not row.pictures
        for name, function in row.generators.items()
        for level in row.levels
        for number in range(each)
    )
    kept: dict[object, ProfileItem] = {}
    for item in drawn:
        # Items of a group belong together, and a time is another each time.
        kept.setdefault(item.id if item.examples is not None or item.seconds is not None else item.asked, item)
    return tuple(kept.values())


def find_row(name: str) -> Row:
    """The row of that name. UserError, with the names, when there is none."""
    if name not in ROWS:
        raise UserError(f"no row of the profile is called {name}: choose one of {', '.join(ROWS)}")
    return ROWS[name]


def profile_digest(items: Sequence[ProfileItem]) -> str:
    """16 hexadecimal digits over all items: equal digests mean that the same was asked."""
    return items_digest((item.id, item.digest) for item in items)
