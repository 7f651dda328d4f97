"""Which item a person gets next, and what they answered: kept line by line, so that they can go on another day."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from ayllu.evals.journal import Journal
from ayllu.evals.profile.answers import Answer, Verdict, judge
from ayllu.evals.profile.item import SEED, ProfileItem
from ayllu.evals.profile.rows import find_row, make_items
from ayllu.lab.error import UserError
from ayllu.lab.store import write_atomically

NOTE = (
    "Answer without a calculator, notes or a search, as a model has to. Items get harder; stop when you like. Nothing "
    "leaves this machine."
)
MOST_SECONDS = 3600.0
"""What is longer was no answer but a walk."""
PLACE = re.compile(r"[a-z_]+/[a-z_0-9]+/\d{1,2}/\d{1,3}/gen")
"""The id of an answer, with the item's level and number."""


class Session:
    """One person and one row. Items come in rounds from easy to hard, so that whoever stops early was asked all levels.

    Within a round the generators take turns; the order is drawn from the person's name.
    """

    def __init__(self, row: str, person: str, *, each: int, seed: str, folder: Path) -> None:
        found = find_row(row)
        self.row, self.person, self.title = found, person, f"{found.title}: {person}"
        self.items = make_items([row], each=each, seed=seed)
        owner = {"person": person, "seed": hashlib.sha256(seed.encode()).hexdigest()[:16]}
        path = answers_file(folder, row, seed)
        _claim(path, owner)
        self.journal = Journal(path, owner, Answer.from_json)
        begun = max((int(key.split("/")[3]) + 1 for key in self.journal.outcomes if PLACE.fullmatch(key)), default=0)
        if begun > each:  # who began a longer row goes on with it
            self.items = make_items([row], each=begun, seed=seed)
        by_place: dict[tuple[int, int], list[ProfileItem]] = {}
        for item in self.items:
            by_place.setdefault((int(item.id.rpartition("/")[2]), item.level), []).append(item)
        self.order: list[ProfileItem] = []
        for place, items in sorted(by_place.items()):
            Random(f"{person}/{place}").shuffle(items)
            self.order += items
        self.stopped = False
        self._shown: tuple[str, float] | None = None

    @property
    def left(self) -> list[ProfileItem]:
        """Items without an answer, in their order."""
        return [item for item in self.order if self._answer(item) is None]

    def state(self, *, show: bool) -> dict[str, Any]:
        """What the page shows: the next item, or that there is none."""
        left = self.left
        item = left[0] if show and left and not self.stopped else None
        if item is not None:
            self._shown = (item.id, time.monotonic())
        over = not left or self.stopped
        return {
            "title": "Thank you" if over else self.title,
            "note": "You can close this page." if over else NOTE,
            "total": len(self.items),
            "done": len(self.items) - len(left),
            "item": None
            if item is None
            else {"id": item.id, "question": item.question, "turns": [list(turn) for turn in item.turns]},
        }

    def answer(self, told: Mapping[str, Any]) -> None:
        """Keep an answer to the item that is shown. Raises ValueError for anything else."""
        reply, seconds = told.get("reply"), told.get("seconds")
        if self._shown is None or told.get("id") != self._shown[0] or not isinstance(reply, str) or len(reply) > 10_000:
            raise ValueError("that is no answer to the item that is shown")
        item = next(item for item in self.items if item.id == self._shown[0])
        waited = time.monotonic() - self._shown[1]
        # The page knows best when the person answered, the server that it cannot have been longer.
        took = min(float(seconds), waited) if isinstance(seconds, int | float) and seconds >= 0 else waited
        self._shown = None
        self.journal.add(
            Answer(
                id=f"{item.id}/gen",
                digest=item.digest,
                mode="gen",
                reply=reply,
                seconds=min(took, MOST_SECONDS) if item.seconds is not None else None,
            )
        )

    def verdicts(self) -> Sequence[Verdict]:
        """All answers so far, judged."""
        return [judge(item, answer) for item in self.items if (answer := self._answer(item)) is not None]

    def _answer(self, item: ProfileItem) -> Answer | None:
        """The answer to an item as it is asked today."""
        found = self.journal.outcomes.get(f"{item.id}/gen")
        return found if found is not None and found.digest == item.digest else None


def answers_file(folder: Path, row: str, seed: str) -> Path:
    """Where a person's answers to a row are kept: those to the items of another seed lie beside them."""
    drawn = "" if seed == SEED else f"-{hashlib.sha256(seed.encode()).hexdigest()[:8]}"
    return folder / f"{row}{drawn}.jsonl"


def _claim(path: Path, owner: Mapping[str, str]) -> None:
    """See that a file of answers is this person's, and give one of an earlier release today's first line.

    What a person has answered is never thrown away: raises UserError where the file is not theirs.
    """
    try:
        first, *lines = path.read_text(encoding="utf-8").split("\n")
        head = json.loads(first)
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        head = None
    if not isinstance(head, dict) or head.get("person") != owner["person"]:
        raise UserError(f"{path} holds answers of somebody else: choose another --name or --out")
    if head != owner:
        write_atomically(path, "\n".join([json.dumps(owner, sort_keys=True), *lines]))
