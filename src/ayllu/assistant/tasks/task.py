"""A task, and whether it was done: numbers and words of the answer, and what has changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ayllu.assistant.steps import Ended, Returned, Step


@dataclass(frozen=True, kw_only=True)
class Task:
    """A request, the world in which it is made, and what must be so afterwards."""

    id: str
    request: str
    calls: Sequence[Mapping[str, Any]]
    """Calls that do it, one after the other: a model that makes these is right."""
    check: Mapping[str, Any]
    """`numbers` and `words` of the answer (`a|b`: either), a source that it `cites`, and a `note`, a `reminder` or a
    `memory` that was made."""
    files: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    reminders: Sequence[Sequence[str]] = ()
    memories: Sequence[str] = ()


def done(task: Task, steps: Sequence[Step], entries: Sequence[Mapping[str, Any]], memories: Sequence[str]) -> str:
    """Why a task was not done; "" where it was. `entries` and `memories` are the notes, reminders and memories made."""
    end = steps[-1]
    if not isinstance(end, Ended) or end.reason != "answered":
        return f"ended by {getattr(end, 'reason', 'nothing')}"
    answer, check = " ".join(end.answer.lower().split()), task.check
    told = numbers_of(answer)
    for number in check.get("numbers", ()):
        if not any(abs(value - number) <= max(1e-3 * abs(number), 5e-3) for value in told):
            return f"{number:g} is not in the answer"
    for words in check.get("words", ()):
        if not any(word in answer for word in words.split("|")):
            return f"{words!r} is not in the answer"
    cited = {citation["source"] for step in steps if isinstance(step, Returned) for citation in step.citations}
    if (source := check.get("cites")) and source not in cited:
        return f"{source} is not cited"
    notes = [entry["text"].lower() for entry in entries if entry["kind"] == "note"]
    for kind, texts in (("note", notes), ("memory", [text.lower() for text in memories])):
        if kind in check and not any(all(word in text for word in check[kind]) for text in texts):
            return f"there is no {kind} of {', '.join(check[kind])}"
    if wanted := check.get("reminder"):
        found = [entry for entry in entries if entry["kind"] == "reminder" and entry["when"] == wanted["when"]]
        if not any(all(word in entry["text"].lower() for word in wanted["words"]) for entry in found):
            return f"there is no reminder of {', '.join(wanted['words'])} at {wanted['when']}"
    return ""


def numbers_of(text: str) -> list[float]:
    """The numbers in a text."""
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", plain)]
