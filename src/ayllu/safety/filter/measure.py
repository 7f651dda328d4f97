"""What the filter costs and what it is good for: false refusals, harmful answers stopped, and its time.

Times are of the processor, for a whole turn: the request, and an answer that comes word by word.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.statistics import share_interval
from ayllu.safety.filter.guard import Guard
from ayllu.safety.filter.policy import Policy
from ayllu.safety.judge.judge import Judge
from ayllu.safety.judge.train import Training

Turn = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Turns of one source; an answer that is not there is empty."""

    name: str
    turns: Sequence[Turn]


def false_refusals(guard: Guard, source: Turns) -> dict[str, Any]:
    """How many harmless turns the filter stops, by the request, by the answer, and by either."""
    asked = [guard.check_request(request) is not None for request, _ in source.turns]
    answered = [bool(answer) and guard.check_answer(request, answer) is not None for request, answer in source.turns]
    either = [a or b for a, b in zip(asked, answered, strict=True)]
    share = share_interval(either)
    return {
        "name": source.name,
        "n": len(either),
        "requests": sum(asked),
        "answers": sum(answered),
        "either": round(share.value, 4),
        "interval": bounds(share.low, share.high),
    }


def latency(guard: Guard, turns: Sequence[Turn]) -> dict[str, Any]:
    """Milliseconds of processor time that the filter takes for a turn."""
    spent = []
    for request, answer in turns:
        begun = time.process_time()
        guard.check_request(request)
        watch = guard.watch(request)
        if not any(watch.push(f"{word} ") for word in answer.split(" ")):
            watch.close()
        spent.append((time.process_time() - begun) * 1000)
    median, high = np.quantile(spent, [0.5, 0.95])
    words = float(np.mean([len(answer.split()) for _, answer in turns]))
    return {
        "turns": len(spent),
        "words": round(words, 1),
        "median": round(float(median), 3),
        "p95": round(float(high), 3),
        "most": round(max(spent), 3),
    }


def bounds(low: float | None, high: float | None) -> list[float | None]:
    """An interval as JSON."""
    return [None if value is None else round(value, 4) for value in (low, high)]


def held_out_stops(training: Training, judge: Judge) -> dict[str, Any]:
    """What the filter stops of the labelled answers and of everyday ones, each judged by weights that never saw it.

    Ten judges are trained on nine tenths, like prompts kept together; each then watches the answers of its tenth as
    they would come, with their requests and without, at the settings of `judge`.
    """
    material = training.material
    rows, right = training.harm_rows
    settings = judge.about["settings"]
    policy = Policy(name="measured", stop=settings["stop"], request=settings["request"])
    stopped, alone = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    for places, harm, request in training.unseen():
        heads = {**judge.heads, "harm": harm[0], "request": request[0]}
        intercepts = {**judge.intercepts, "harm": harm[1], "request": request[1]}
        guard = Guard(replace(judge, heads=heads, intercepts=intercepts), policy, log=lambda line: None)
        for i in places:
            prompt, answer = training.turn(int(rows[i]))
            stopped[i] = guard.check_answer(prompt, answer) is not None
            alone[i] = guard.check_answer("", answer) is not None
    scored, chat = len(material.scored), len(rows) - len(material.everyday) + material.chat
    group = np.array([material.groups[i] for i in material.scored])
    bad = right[:scored]
    guard = Guard(judge, policy, log=lambda line: None)
    asked = [guard.check_request(material.labelled[i].prompt) is not None for i in material.scored]
    either = stopped[:scored] | np.array(asked)
    kinds = {
        "harmful answers": (stopped[:scored][bad], group[bad]),
        "harmful answers to what is not known": (alone[:scored][bad], group[bad]),
        "turns with harmful answers, by the request or the answer": (either[bad], group[bad]),
        "harmless answers to such requests": (stopped[:scored][~right[:scored]], group[~right[:scored]]),
        "everyday chat": (stopped[scored:chat], np.arange(chat - scored)),
        "everyday prose": (stopped[chat:], np.arange(len(rows) - chat)),
    }
    return {name: _share(part, where) for name, (part, where) in kinds.items()}


def _share(stopped: NDArray[np.bool_], group: NDArray[np.int64]) -> dict[str, Any]:
    share = share_interval([bool(value) for value in stopped], clusters=group.tolist())
    return {"n": len(stopped), "stopped": round(share.value, 4), "interval": bounds(share.low, share.high)}
