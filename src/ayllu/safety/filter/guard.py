"""The filter: a request before it is computed, and an answer sentence by sentence while it is.

It looks at the answer so far, at its newest sentences alone, so that a harmless beginning hides nothing, and at what
was asked. That costs about as much as reading the text once: n-grams are counted as they come, and no model runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ayllu.lab.progress import say
from ayllu.safety.filter.plain import lettered, plain
from ayllu.safety.filter.policy import Policy, read_filter_policy
from ayllu.safety.hazards import hazard_name
from ayllu.safety.judge.features import words_of
from ayllu.safety.judge.judge import FEWEST_ASKED, Judge, chance, load_judge
from ayllu.safety.judge.writing import LONGEST, Writing, parts

_MARKS = frozenset(".!?…。\n")
_ENDED = re.compile(r"(?:[.!?…。]\s+|\n)\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What the filter found, and what it does about it."""

    where: str
    """`request` or `answer`."""
    category: str
    chance: float
    block: bool

    @property
    def reason(self) -> str:
        """Why, in words for whoever asked."""
        what = "This request" if self.where == "request" else "The answer"
        return f"{what} was stopped by this server's safety filter: {hazard_name(self.category)}."


def open_guard(path: Path) -> Guard:
    """The filter of a policy file; UserError where it is none."""
    judge = load_judge()
    policy = read_filter_policy(path, judge)
    say(f"safety filter: policy {policy.name} ({policy.digest[:12]})")
    return Guard(judge, policy)


class Guard:
    """Judges what is asked and what is answered by a policy."""

    def __init__(self, judge: Judge, policy: Policy, *, log: Callable[[str], None] = say) -> None:
        self.judge, self.policy, self._log = judge, policy, log

    def check_request(self, text: str) -> Finding | None:
        """What is to be refused of a request; None where it may be answered."""
        text = plain(text)
        if self.policy.requests == "off" or len(words_of(text)) < FEWEST_ASKED:
            return None
        asks = self.judge.request(text)
        if asks < self.policy.request:
            return None
        category = self.judge.category(text)
        actions = (self.policy.requests, self.policy.action(category))
        if "off" in actions:
            return None
        return self._told(Finding(where="request", category=category, chance=asks, block="log" not in actions))

    def watch(self, request: str = "", earlier: Sequence[str] = ()) -> AnswerWatch:
        """Watches one answer to `request`, which may go on from `earlier` ones; both empty where they are not known."""
        return AnswerWatch(self, request, earlier)

    def check_answer(self, request: str, answer: str) -> Finding | None:
        """What is to be stopped of a whole answer, as if it had come piece by piece."""
        watch = self.watch(request)
        return watch.push(answer) or watch.close()

    def found(self, request: str, text: str, harm: float, told: set[str]) -> Finding | None:
        """What is done about an answer that is harmful with the chance `harm`; `told` has the hazards logged before."""
        category = self.judge.category(f"{request}\n{text}")
        action = self.policy.action(category)
        if action == "off" or category in told:
            return None
        told.add(category)
        return self._told(Finding(where="answer", category=category, chance=harm, block=action == "block"))

    def _told(self, finding: Finding) -> Finding | None:
        done = "stopped" if finding.block else "let through"
        what = f"{hazard_name(finding.category)}, chance {finding.chance:.2f}"
        self._log(f"safety filter: {finding.where} {done}, {what}")
        return finding if finding.block else None


class AnswerWatch:
    """One answer: `push` each piece, `close` at the end; the first finding that blocks ends it."""

    def __init__(self, guard: Guard, request: str, earlier: Sequence[str]) -> None:
        self._guard, self._request = guard, plain(request)
        self._open = ""
        self._writing = Writing(guard.judge.running_harm)
        # A request that goes on from a harmful one does not make it harmless.
        asked = (self._request, *map(plain, earlier))
        self._asked = max((guard.judge.asked(text) for text in asked), default=0.0)
        self._told: set[str] = set()

    def push(self, text: str) -> Finding | None:
        """What is to be stopped now that `text` has come."""
        text = lettered(text)  # which may bring the end of a sentence to light
        marked = not _MARKS.isdisjoint(self._open)
        self._open += text
        if not marked and _MARKS.isdisjoint(text) and len(self._open) <= LONGEST:
            return None
        if _ENDED.search(self._open):
            return self.close()
        *whole, self._open = parts(self._open)
        return self._judge(whole)

    def close(self) -> Finding | None:
        """What is to be stopped of the sentence that is open."""
        rest, self._open = parts(self._open), ""
        return self._judge(rest)

    def _judge(self, come: Sequence[str]) -> Finding | None:
        for sentence in come:
            odds = self._writing.add(plain(sentence))
            if odds is None:
                continue
            harm = chance(odds + self._asked)
            if harm >= self._guard.policy.stop:
                finding = self._guard.found(self._request, self._writing.newest, harm, self._told)
                if finding is not None:
                    return finding
        return None
