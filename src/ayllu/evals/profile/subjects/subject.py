"""What all who are measured have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from ayllu.evals.profile.item import Mode, ProfileItem

Ranked = tuple[int, Sequence[float]]
"""Number of an item among those that were asked, and the natural-log likelihood of each choice."""
Replied = tuple[int, str | None, str]
"""Number of an item, what was generated (None: nothing), and why nothing was."""


class Subject(Protocol):
    """Who takes the items. Answers come in any order, each as soon as it is there."""

    @property
    def name(self) -> str: ...

    @property
    def modes(self) -> Sequence[Mode]: ...

    @property
    def remembers(self) -> bool:
        """Whether what was told in one conversation can be asked in the next."""

    @property
    def sees(self) -> bool:
        """Whether it takes pictures."""

    @property
    def about(self) -> Mapping[str, Any]:
        """JSON values that say how it answers: type, chat format, machine."""

    @property
    def owner(self) -> Mapping[str, Any]:
        """What tells its answers from those of any other subject: they are reused where this is equal."""

    @property
    def weighs(self) -> bool:
        """Whether its likelihoods are probabilities of text, so that bits per byte and confidence mean something."""

    @property
    def keeps(self) -> bool:
        """Whether answers may be reused in a later measurement: not where the same name can be another model then."""

    def rank(self, items: Sequence[ProfileItem]) -> Iterator[Ranked]: ...

    def generate(self, items: Sequence[ProfileItem]) -> Iterator[Replied]: ...
