"""What a model answered, item by item, and the scores that follow from it.

    answers.jsonl   one line an item: id, task, digest, mode, log_likelihoods or text, values

`values` are what each metric gives the item; a score aggregates them: the mean for accuracies (Wilson's interval, or
one over clusters where items are not independent), e to the mean negative log-likelihood for `perplexity`, and for
`word_perplexity`, `byte_perplexity` and `bits_per_byte` the ratio of sums over whole texts. All as lm-eval aggregates.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ayllu.evals.standard.task import Asked, Mode, Prompt, Task
from ayllu.evals.statistics import ConfidenceInterval, attrition_interval, mean_interval, ratio_interval, share_interval
from ayllu.lab.error import UserError

ANSWERS = "answers.jsonl"
RATIOS = {"word_perplexity": "words", "byte_perplexity": "bytes", "bits_per_byte": "bytes"}
"""Metrics that divide by a size of the whole text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """How a model answered one item."""

    id: str
    task: str
    digest: str
    """`Prompt.digest`: what was asked."""
    mode: Mode
    log_likelihoods: tuple[float, ...] = ()
    """Natural log, one for each pair that was asked."""
    text: str | None = None
    """What was generated."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Each metric's value for this item."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """`words` and `bytes` of a whole text; `choices` where they are ranked."""
    tokens: tuple[int, ...] = ()
    """Ids that were scored of each choice."""
    cluster: str = ""
    """Items with the same one are not independent."""

    @property
    def answered(self) -> bool:
        """Whether there is a finite likelihood for every choice."""
        return all(map(math.isfinite, self.log_likelihoods))

    def as_json(self) -> dict[str, Any]:
        """A line of answers.jsonl; a likelihood that is not finite becomes null."""
        likelihoods = [value if math.isfinite(value) else None for value in self.log_likelihoods]
        values = {name: value if math.isfinite(value) else None for name, value in self.values.items()}
        return {**asdict(self), "log_likelihoods": likelihoods, "values": values}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Answer:
        """Read a line of answers.jsonl. Raises KeyError, TypeError or ValueError where it is not one."""
        known = {name: line[name] for name in ("id", "task", "digest", "mode", "text", "sizes", "cluster")}
        values = {name: math.nan if value is None else float(value) for name, value in line["values"].items()}
        likelihoods = tuple(math.nan if value is None else float(value) for value in line["log_likelihoods"])
        return cls(**known, values=values, log_likelihoods=likelihoods, tokens=tuple(line["tokens"]))


def choice_values(asked: Asked, log_likelihoods: Sequence[float]) -> dict[str, float]:
    """Whether the right choice is the likeliest: as it is, per character, and per byte; the first of equals wins."""

    def right(sizes: Sequence[int] | None) -> float:
        if not all(map(math.isfinite, log_likelihoods)):
            return 0.0
        values = [v / max(1, s) for v, s in zip(log_likelihoods, sizes, strict=True)] if sizes else log_likelihoods
        return float(max(range(len(values)), key=values.__getitem__) == asked.gold)

    return {"acc": right(None), "acc_norm": right(asked.sizes), "acc_bytes": right(asked.bytes)}


def answer_to(task: Task, prompt: Prompt, **given: Any) -> Answer:
    """An answer with what follows from the prompt filled in."""
    cluster = str(prompt.row[task.cluster]) if task.cluster else ""
    return Answer(id=prompt.id, task=task.name, digest=prompt.digest, mode=task.mode, cluster=cluster, **given)


def figures(task: str, metric: str, answers: Sequence[Answer]) -> dict[str, Any]:
    """One metric over answers of one task: an entry of `scores`."""
    interval = _interval(metric, answers)
    chances = [1 / answer.sizes["choices"] for answer in answers if answer.sizes.get("choices")]
    accuracy = metric.startswith("acc") and len(chances) == len(answers)
    return {
        "name": task,
        "metric": metric,
        **interval.as_json(),
        "n": len(answers),
        "mode": answers[0].mode,
        "chance": sum(chances) / len(chances) if accuracy else None,
    }


def _interval(metric: str, answers: Sequence[Answer]) -> ConfidenceInterval:
    if metric in RATIOS:
        return _per_size(metric, answers)
    values = [answer.values[metric] for answer in answers]
    if metric == "perplexity":
        mean = mean_interval([-value for value in values])
        return _mapped(mean, math.exp)
    if any(value not in (0.0, 1.0) for value in values):
        return mean_interval(values)
    if any(answer.cluster for answer in answers):
        return share_interval([bool(value) for value in values], clusters=[answer.cluster for answer in answers])
    answered = sum(answer.answered for answer in answers)
    return attrition_interval(int(sum(values)), answered, len(answers))


def _per_size(metric: str, answers: Sequence[Answer]) -> ConfidenceInterval:
    sizes = [answer.sizes[RATIOS[metric]] for answer in answers]
    nats = ratio_interval([-answer.log_likelihoods[0] for answer in answers], sizes)
    return _mapped(nats, (lambda value: value / math.log(2)) if metric == "bits_per_byte" else math.exp)


def _mapped(interval: ConfidenceInterval, rising: Any) -> ConfidenceInterval:
    def bound(value: float | None) -> float | None:
        return None if value is None else rising(value)

    return ConfidenceInterval(value=rising(interval.value), low=bound(interval.low), high=bound(interval.high))


def save_answers(answers: Iterable[Answer], folder: Path) -> None:
    """Write answers.jsonl, complete or not at all."""
    path = folder / ANSWERS
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text("".join(json.dumps(a.as_json(), ensure_ascii=False) + "\n" for a in answers), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): free the disk or choose another") from error


def read_answers(folder: Path) -> tuple[Answer, ...]:
    """The answers in a folder, none where there are none. UserError where a line cannot be read."""
    path = folder / ANSWERS
    if not path.is_file():
        return ()
    try:
        with path.open(encoding="utf-8") as file:
            return tuple(Answer.from_json(json.loads(line)) for line in file)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): measure again") from error
