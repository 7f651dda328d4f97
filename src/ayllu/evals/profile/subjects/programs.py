"""Anchors without weights: guessing, a 5-gram model, a calculator and a lookup, on the scale of all others."""

from __future__ import annotations

import ast
import operator
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any

from ayllu.evals.profile.generators.facts import CAPITALS, ELEMENTS
from ayllu.evals.profile.item import Mode, ProfileItem
from ayllu.evals.profile.subjects.five_gram import FiveGram
from ayllu.evals.profile.subjects.subject import Ranked, Replied
from ayllu.lab.error import UserError

TRAINING_SEED = "ayllu-profile-five-gram"
"""What the solved items are drawn from that the 5-gram model has read."""
OPERATIONS: Mapping[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
SUM = re.compile(r"[(\d][\d\s()+×-]*[+×-][\d\s()+×-]*[\d)]")
QUESTION = re.compile(r"([^.?\n]*)\?")
SMALL = frozenset(
    (
        *("a", "an", "and", "answer", "are", "does", "have", "has", "in", "is", "now", "of", "only", "or", "the", "to"),
        *("what", "where", "which", "who", "with"),
    )
)
"""Words that say nothing of what a question is about."""


class Program:
    """A simple program that answers questions: choices that it has no answer for are guessed, by a draw of its own."""

    modes: Sequence[Mode] = ("rank", "gen")
    keeps = True
    weighs = False
    remembers = False
    sees = False
    name = "random"
    revision = 1
    """Enters `owner`: raised where the program answers otherwise than before."""

    @property
    def about(self) -> Mapping[str, Any]:
        return {"kind": "program"}

    @property
    def owner(self) -> Mapping[str, Any]:
        return {"program": self.name, "revision": self.revision}

    def rank(self, items: Sequence[ProfileItem]) -> Iterator[Ranked]:
        for number, item in enumerate(items):
            yield number, self.weigh(item)

    def generate(self, items: Sequence[ProfileItem]) -> Iterator[Replied]:
        for number, item in enumerate(items):
            yield number, self.reply(item) or self._guess(item), ""

    def weigh(self, item: ProfileItem) -> list[float]:
        """A number for each choice, the highest for the one that it takes: what it would reply, or a guess."""
        shown = item.choices or (item.answer,)
        said = (self.reply(item) or "").casefold()
        if sum(choice.casefold() == said for choice in shown) == 1:
            return [float(choice.casefold() == said) - 1 for choice in shown]
        guessed = Random(f"{self.name}/{item.id}").randrange(len(shown))
        return [float(place == guessed) - 1 for place in range(len(shown))]

    def reply(self, item: ProfileItem) -> str:
        """Its answer, or nothing."""
        return ""

    def _guess(self, item: ProfileItem) -> str:
        """One of the choices that the question itself names, or nothing."""
        return Random(f"{self.name}/{item.id}").choice(item.choices) if item.closed else ""


class FiveGramProgram(Program):
    """Ranks and writes by the 5-gram model, which has read some 830 solved items of another seed; where a level has few
    questions, as the easiest have, it has read some that it is asked."""

    name = "five-gram"
    weighs = True

    def weigh(self, item: ProfileItem) -> list[float]:
        return [five_gram().log_likelihood(item.plain, f" {choice}") for choice in item.choices or (item.answer,)]

    def reply(self, item: ProfileItem) -> str:
        return five_gram().continue_text(item.plain, item.room)


@lru_cache(maxsize=1)
def five_gram() -> FiveGram:
    """What the 5-gram model knows: solved items of a seed that is only for it."""
    from ayllu.evals.profile.rows import make_items

    read = make_items(each=2, seed=TRAINING_SEED)
    return FiveGram(f"{item.plain} {item.answer}\n" for item in read)


class Calculator(Program):
    """Computes the first expression of sums, differences and products in a question; knows nothing else."""

    name = "calculator"

    def reply(self, item: ProfileItem) -> str:
        found = SUM.search(item.question)
        try:
            return str(_value(ast.parse(found[0].replace("×", "*").strip(), mode="eval").body)) if found else ""
        except (SyntaxError, ValueError):
            return ""


class Lookup(Program):
    """Looks facts up in tables, and all else in the text: it answers with the end of the sentence that is most like the
    question. What it was told before is kept in a notebook."""

    name = "lookup"
    remembers = True

    def reply(self, item: ProfileItem) -> str:
        told = [text for _, text in item.turns]
        return _fact(item.question) or _from_text(" ".join([item.before, *told]), item.question)


def _fact(question: str) -> str:
    if found := re.search(r"capital of ([^?]+)\?", question):
        return dict(CAPITALS).get(found[1], "")
    if found := re.search(r"symbol of (\w+)\?", question):
        return dict(ELEMENTS).get(found[1], "")
    if found := re.search(r"atomic number of (\w+)\?", question):
        return str([name for name, _ in ELEMENTS].index(found[1]) + 1)
    if found := re.search(r"U\+([0-9A-F]+)\?", question):
        return unicodedata.name(chr(int(found[1], 16)), "")
    return ""


def _from_text(told: str, question: str) -> str:
    """The last word of the last sentence that has the most words of the question, which is not among them."""
    asked = QUESTION.findall(question)
    if not asked:
        return ""
    wanted = set(re.findall(r"\w+", asked[-1].lower())) - SMALL
    sentences = [part.strip() for part in re.split(r"[.\n]", f"{told} {question.partition('?')[0]}") if part.strip()]
    best, answer = 0, ""
    for sentence in sentences[:-1]:
        words = re.findall(r"\w+", sentence)
        fresh = [word for word in words if word.lower() not in wanted | SMALL]
        shared = len({word.lower() for word in words} & wanted)
        if fresh and shared >= max(1, best):
            best, answer = shared, fresh[-1]
    return answer


def _value(node: ast.expr) -> int:
    """The value of an expression of whole numbers; ValueError for anything else."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("not a sum")


PROGRAMS: Mapping[str, type[Program]] = {
    program.name: program for program in (Program, FiveGramProgram, Calculator, Lookup)
}
PREFIX = "program:"


def find_program(name: str) -> Program:
    """The anchor called `program:NAME`. UserError, with the names, when there is none."""
    short = name.removeprefix(PREFIX)
    if short not in PROGRAMS:
        raise UserError(f"no simple program is called {short}: choose one of {', '.join(PROGRAMS)}")
    return PROGRAMS[short]()
