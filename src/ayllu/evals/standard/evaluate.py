"""Measure on standard sets whoever answers: every item once, ever, for the same model and the same prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ayllu.evals.journal import Journal
from ayllu.evals.score import Outcome, Scores
from ayllu.evals.standard.answers import Answer
from ayllu.evals.standard.prompts import chosen_rows, prompts_of
from ayllu.evals.standard.respondent import Respondent
from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.task import HARNESS, Prompt, Task
from ayllu.evals.table import power_of, power_of_difference
from ayllu.lab import progress
from ayllu.lab.progress import say

REVISION = 1
"""Raised where an answer would come out otherwise for the same weights and prompt: then none that is kept counts."""


def evaluate_tasks(
    respondent: Respondent,
    tasks: Sequence[Task],
    reader: Reader,
    *,
    items: int | None = None,
    shots: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> Scores:
    """The scores on each task, and which could not be measured, with the reason.

    `items` of each, or all; `shots` examples before each question, or the set's own number. Answers are kept under the
    cache by who answers and by prompt, as they come: nothing is asked twice, a killed run goes on.
    """
    missing = {task.name: reason for task in tasks if (reason := unmeasurable(task, reader, respondent))}
    outcomes: list[Outcome] = []
    others: list[Answer] = []
    cut: dict[str, int] = {}
    for task in (task for task in tasks if task.name not in missing):
        prompts = prompts_of(task, reader, chosen_rows(task, reader, items), shots=shots)
        if reason := respondent.cannot_ask(prompts):
            missing[task.name] = reason
            continue
        if task.mode == "rank":
            say(power_of(task.title, [1 / len(prompt.asked.pairs) for prompt in prompts]))
        if task.mode != "rolling":
            say(power_of_difference(task.title, len(prompts)))
        if count := respondent.too_long(task, prompts):
            cut[task.name] = count
        found = _answered(respondent, task, prompts, _journal(reader.cache, respondent, task))
        if task.mode == "rank":
            outcomes += (outcome_of(prompt, answer) for prompt, answer in zip(prompts, found, strict=True))
        else:
            others += found
    told = {"prompts": f"lm-eval {HARNESS}", "shots": {task.name: _shots(task, shots) for task in tasks}}
    return Scores(
        outcomes=tuple(outcomes),
        answers=tuple(others),
        not_measured=missing,
        about={**respondent.conditions, **told, **({"cut": cut} if cut else {}), **(about or {})},
    )


def unmeasurable(task: Task, reader: Reader, respondent: Respondent) -> str:
    """Why a task cannot be measured here; empty where it can."""
    lacking = [name for name in task.needs if reader.find(name) is None]
    if lacking:
        return f"its data is in no registry: name {' and '.join(lacking)} with --data"
    return respondent.cannot(task)


def outcome_of(prompt: Prompt, answer: Answer) -> Outcome:
    """An answer to ranked choices as the rest of the lab knows it."""
    return Outcome(
        id=prompt.id,
        set=prompt.task,
        digest=prompt.digest,
        gold=prompt.asked.gold,
        log_likelihoods=answer.log_likelihoods,
        bytes=prompt.asked.bytes,
        tokens=answer.tokens,
        characters=prompt.asked.sizes,
        cluster=answer.cluster,
    )


def _shots(task: Task, shots: int | None) -> int:
    return task.default_shots if shots is None else shots


def _answered(respondent: Respondent, task: Task, prompts: Sequence[Prompt], kept: Journal[Answer]) -> list[Answer]:
    known = kept.outcomes
    left = [p for p in prompts if p.id not in known or known[p.id].digest != p.digest]
    with progress.bar(f"evaluate {task.name}", total=len(prompts), unit="items") as bar:
        bar.begin_at(len(prompts) - len(left))
        for answer in respondent.answers(task, left):
            kept.add(answer)
            bar.advance()
    return [_judged_again(task, prompt, known[prompt.id]) for prompt in prompts]


def _judged_again(task: Task, prompt: Prompt, answer: Answer) -> Answer:
    """A text that was kept is judged by today's checker; a program, which takes a sandbox, is not run again."""
    if task.check is None or answer.text is None:
        return answer
    return replace(answer, values=dict(task.check(prompt.row, answer.text)))


def _journal(cache: Path, respondent: Respondent, task: Task) -> Journal[Answer]:
    owner = {**respondent.owner, "revision": REVISION, "task": task.name}
    key = hashlib.sha256(json.dumps(owner, sort_keys=True).encode()).hexdigest()[:16]
    return Journal(cache / "answers" / f"{task.name}-{key}.jsonl", owner, Answer.from_json)
