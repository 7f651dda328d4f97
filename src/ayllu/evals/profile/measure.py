"""Ask a subject all items, and keep each answer as it comes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ayllu.evals.journal import Journal
from ayllu.evals.profile.answers import Answer, Verdict, judge
from ayllu.evals.profile.item import Mode, ProfileItem
from ayllu.evals.profile.rows import BY_MEMORY
from ayllu.evals.profile.subjects.subject import Subject
from ayllu.lab import progress


def measure(
    subject: Subject, items: Sequence[ProfileItem], *, modes: Sequence[Mode] | None = None, cache: Path
) -> list[Verdict]:
    """Each item's answer in each mode, judged; in the order of the items, mode by mode.

    Answers are kept below `cache` one by one, by subject and item: a killed measurement goes on where it was, and the
    same item is not asked again. Items of a conversation before are asked only where the subject remembers.
    """
    asked = [item for item in items if item.row != BY_MEMORY or subject.remembers]
    chosen = [mode for mode in subject.modes if modes is None or mode in modes]
    wanted = [(item, mode) for mode in chosen for item in asked]
    digest = hashlib.sha256(json.dumps(dict(subject.owner), sort_keys=True).encode()).hexdigest()[:16]
    journal = Journal(cache / "evals" / f"profile-{digest}.jsonl", subject.owner, Answer.from_json)
    known = dict(journal.outcomes)
    left = [(item, mode) for item, mode in wanted if not _kept(known, item, mode)]
    with progress.bar(f"profile of {subject.name}", total=len(wanted), unit="answers") as bar:
        bar.begin_at(len(wanted) - len(left))
        for answer in _answers(subject, left, chosen):
            known[answer.id] = answer
            journal.add(answer)
            bar.advance()
    if not subject.keeps:
        journal.path.unlink(missing_ok=True)
    return [judge(item, known[f"{item.id}/{mode}"]) for item, mode in wanted]


def _kept(known: dict[str, Answer], item: ProfileItem, mode: Mode) -> bool:
    found = known.get(f"{item.id}/{mode}")
    return found is not None and found.digest == item.digest


def _answers(subject: Subject, left: Sequence[tuple[ProfileItem, Mode]], modes: Sequence[Mode]) -> Iterator[Answer]:
    for mode in modes:
        mine = [item for item, wanted in left if wanted == mode]
        together = [item for item in mine if item.seconds is None]
        yield from (answer for _, answer in _ask(subject, together, mode))
        # Where time counts, each is asked alone; the first, asked once before, finds everything warm.
        alone = [item for item in mine if item.seconds is not None]
        for _ in _ask(subject, alone[:1], mode):
            pass
        for item in alone:
            began = time.perf_counter()
            for ended, answer in _ask(subject, [item], mode):
                yield replace(answer, seconds=ended - began)


def _ask(subject: Subject, items: Sequence[ProfileItem], mode: Mode) -> Iterator[tuple[float, Answer]]:
    """Each answer with the moment at which it was there."""
    if not items:
        return
    if mode == "rank":
        for number, likelihoods in subject.rank(items):
            item = items[number]
            yield (
                time.perf_counter(),
                Answer(id=f"{item.id}/rank", digest=item.digest, mode="rank", log_likelihoods=tuple(likelihoods)),
            )
    else:
        for number, reply, refused in subject.generate(items):
            item = items[number]
            yield (
                time.perf_counter(),
                Answer(id=f"{item.id}/gen", digest=item.digest, mode="gen", reply=reply, refused=refused),
            )
