"""What a subject answered to an item, and how it is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ayllu.evals.profile.check import is_right
from ayllu.evals.profile.item import Mode, ProfileItem


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer in one mode."""

    id: str
    """The item's id, a slash, and the mode."""
    digest: str
    """`ProfileItem.digest`: what was asked."""
    mode: Mode
    log_likelihoods: tuple[float, ...] = ()
    """Natural log, one a choice, where choices were ranked."""
    reply: str | None = None
    """What was generated."""
    seconds: float | None = None
    """How long the answer took, where that counts: the item was then asked alone."""
    refused: str = ""
    """Why there is no answer."""

    def as_json(self) -> dict[str, Any]:
        """A line of a journal."""
        fields: dict[str, Any] = {"id": self.id, "digest": self.digest, "mode": self.mode}
        if self.log_likelihoods:
            # A likelihood that is no number is no JSON either.
            fields["log_likelihoods"] = [value if math.isfinite(value) else None for value in self.log_likelihoods]
        if self.reply is not None:
            fields["reply"] = self.reply
        if self.seconds is not None:
            fields["seconds"] = self.seconds
        return fields | ({"refused": self.refused} if self.refused else {})

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Answer:
        """Read such a line. Raises KeyError, TypeError or ValueError where it is not one."""
        if line["mode"] not in ("rank", "gen"):
            raise ValueError(f"{line['mode']!r} is no mode")
        likelihoods = line.get("log_likelihoods", ())
        return cls(
            id=str(line["id"]),
            digest=str(line["digest"]),
            mode=line["mode"],
            log_likelihoods=tuple(math.nan if value is None else float(value) for value in likelihoods),
            reply=line.get("reply"),
            seconds=line.get("seconds"),
            refused=line.get("refused", ""),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """An answer, judged."""

    item: ProfileItem
    answer: Answer
    solved: bool
    """An item without an answer is not solved."""

    @property
    def mode(self) -> Mode:
        return self.answer.mode

    @property
    def answered(self) -> bool:
        """Whether there is an answer that can be judged."""
        return not self.answer.refused

    @property
    def chance(self) -> float:
        return self.item.chance(self.answer.mode)

    @property
    def confidence(self) -> float | None:
        """The probability of the likeliest choice among the choices; None where nothing was ranked."""
        values = self.answer.log_likelihoods
        if len(values) < 2 or not all(map(math.isfinite, values)):
            return None
        return 1 / sum(math.exp(value - max(values)) for value in values)

    @property
    def gold_bits_per_byte(self) -> float | None:
        """Bits per byte of the right answer; None where nothing was ranked."""
        values = self.answer.log_likelihoods
        value = values[self.item.gold] if values else math.nan
        return -value / math.log(2) / len(self.item.answer.encode()) if math.isfinite(value) else None

    def as_json(self) -> dict[str, Any]:
        """A line of items.jsonl."""
        place = {"row": self.item.row, "generator": self.item.generator, "level": self.item.level}
        verdict: dict[str, Any] = {
            "solved": self.solved,
            "answered": self.answered,
            "chance": self.chance,
            "group": self.item.group,
        }
        if self.item.examples is not None:
            verdict["examples"] = self.item.examples
        return {**self.answer.as_json(), **place, **verdict}


def judge(item: ProfileItem, answer: Answer) -> Verdict:
    """Whether an answer is right, and in time."""
    if answer.mode == "rank":
        values = answer.log_likelihoods
        right = all(map(math.isfinite, values)) and len(values) > 1 and values.index(max(values)) == item.gold
    else:
        right = answer.reply is not None and is_right(item, answer.reply)
    late = item.seconds is not None and (answer.seconds is None or answer.seconds > item.seconds)
    return Verdict(item=item, answer=answer, solved=right and not late and not answer.refused)
