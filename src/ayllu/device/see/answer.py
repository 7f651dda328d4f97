"""Answers to questions about a picture that say nothing but what statements of it support."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ayllu.device.see.colours import NAMED
from ayllu.device.see.scene import Scene, Seen

CANNOT = "I cannot see that."
FACES = "I do not look at faces: they are blurred before I see anything."

_WRITING = re.compile(
    r"\b(read|reads|reading|written|writing|signs?|labels?|poster|notice|menu)\b"
    r"|\bwhat do(es)? (it|this|that|the \w+|they|these) say\b|\bit says?\b"
)
_READ = re.compile(_WRITING.pattern + r"|\b(says?|text|letters|words|title|spelled|numbers?)\b")
_COLOUR = re.compile(r"\b(colou?rs?)\b")
_LIGHT = re.compile(r"\b(dark|bright|dim|light enough|how light|lights? (is|are)? ?on|lighting)\b")
_SHARP = re.compile(r"\b(sharp|blurr\w*|focus\w*|clear picture)\b")
_FACE = re.compile(r"\b(who (is|are|was)|faces?|whose|(is|are) (he|she|they)|recogni[sz]e|smiling)\b")
_ALL = re.compile(
    r"\b(what (do|can|did) you see|what('s| is) (there|in front|this|that|around|here)|describe|look\b.*\btell"
    r"|look (at|around)|take a look|have a look|what am i looking at|in (the|this) picture)\b"
)
_THING = re.compile(
    r"\b(is|are) there (a|an|any)\b|\b(do|can|did) you see (a|an|any|my|the)\b|\bhow many\b"
    r"|\bwhere('s| is| are)\b.*\b(see|camera)\b"
)
_OF_A_THING = re.compile(
    r"\bcolou?rs?\s+(?:is|are)\s+(?:the|my|his|her|their|your|that|this)\s+(?!picture|all|scene)\w+"
)
_WORDS = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_EMPTY = frozenset(
    _WORDS.findall(
        "a an and are as at be but by can do does for from has have i in is it its me my no not of on or see seen so "
        "some that the there they this to was what where which with you your here looks look says say reads read "
        "written picture camera image sign writing colour color colours colors light sure"
    )
)
"""Words that assert nothing about a picture by themselves."""


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """An answer and the statements that it rests on; none for one that says that nothing supports it."""

    text: str
    rests_on: Sequence[Seen] = ()


def about_sight(question: str) -> bool:
    """Whether somebody asks what can be seen."""
    text = question.lower()
    return any(pattern.search(text) for pattern in (_WRITING, _COLOUR, _LIGHT, _ALL)) or bool(
        re.search(r"\b(see|look|picture|photo|camera)\b", text)
    )


def answer(scene: Scene, question: str) -> Grounded | None:
    """The answer that the statements themselves give; None where the question is not one that they can answer."""
    text = question.lower()
    known: list[tuple[re.Pattern[str], Callable[[Scene, str], Grounded]]] = [
        (_FACE, lambda scene, text: Grounded(text=FACES)),
        (_COLOUR, _colour),
        (_READ, _read),
        (_LIGHT, _light),
        (_SHARP, _sharp),
        (_THING, lambda scene, text: Grounded(text=CANNOT)),
        (_ALL, lambda scene, text: summary(scene)),
    ]
    for pattern, work in known:
        if pattern.search(text):
            return work(scene, text)
    return None


def summary(scene: Scene) -> Grounded:
    """Everything in a few sentences, what is surest first."""
    lines, tints = scene.of("writing"), scene.of("colour")
    told: list[str] = []
    if lines:
        told.append(f"I see writing {lines[0].place}: {_quoted(lines)}.")
    if dark := [one for one in scene.of("light") if one.what != "normal"]:
        told.append(f"The light is {dark[0].what}.")
    if soft := [one for one in scene.of("sharpness") if one.what == "blurred"]:
        told.append("The picture is blurred.")
    if tints and not dark:
        told.append(f"It is mostly {_listed([one.what for one in tints[:3]])}.")
    if not lines and not told:
        return Grounded(text=CANNOT)
    if not lines:
        told.insert(0, "I can make out no writing.")
    return Grounded(text=" ".join(told), rests_on=[*lines, *dark, *soft, *([] if dark else tints[:3])])


def supported(text: str, scene: Scene, question: str) -> bool:
    """Whether every word of a text stands in what was seen or in the question, or asserts nothing."""
    seen = " ".join(f"{one.what} {one.around} {one.letters} {one.place}" for one in scene.seen)
    allowed = _words(seen) | _words(question) | _EMPTY
    # A colour or number of the question alone is no support: "is it red?" does not make it so.
    allowed -= ({word for word in _words(question) if word in NAMED or word.isdigit()}) - _words(seen)
    said = _words(text)
    return bool(said - _EMPTY) and said <= allowed


def _read(scene: Scene, text: str) -> Grounded:
    lines = scene.of("writing")
    if not lines:
        why = " The picture is too dark or blurred to read." if scene.blind else ""
        return Grounded(text=CANNOT + why)
    chosen = [one for one in lines if _where(one, text)]
    if not chosen:
        return Grounded(text=CANNOT)
    if re.search(r"\bnumbers?\b", text) and not re.search(r"\bread|sign|say", text):
        chosen = [one for one in chosen if any(map(str.isdigit, one.what))]
    return Grounded(text=f"It says: {_quoted(chosen)}.", rests_on=chosen) if chosen else Grounded(text=CANNOT)


def _colour(scene: Scene, text: str) -> Grounded:
    lines, tints = scene.of("writing"), scene.of("colour")
    if re.search(r"\b(letters|writing|text|words)\b", text):
        if not lines:
            return Grounded(text=CANNOT)
        return Grounded(text=f"The writing is {lines[0].letters}, on {lines[0].around}.", rests_on=lines[:1])
    if re.search(r"\b(sign|label|poster|notice)\b", text):
        if not lines:
            return Grounded(text=CANNOT)
        return Grounded(text=f"It is {lines[0].around}, with {lines[0].letters} writing.", rests_on=lines[:1])
    thing = re.search(
        r"\bcolou?rs?\s+(?:is|are)\s+(?:the|my|his|her|their|your|that|this)\s+(?!picture|all|scene)\w+", text
    )
    if thing or not tints or scene.of("light")[0].what == "dark":
        return Grounded(text=CANNOT)  # which pixels belong to a thing is not known
    return Grounded(text=f"Mostly {_listed([one.what for one in tints[:3]])}.", rests_on=tints[:3])


def _light(scene: Scene, text: str) -> Grounded:
    found = scene.of("light")[:1]
    word = "neither dark nor very bright" if found[0].what == "normal" else found[0].what
    return Grounded(text=f"It is {word}.", rests_on=found)


def _sharp(scene: Scene, text: str) -> Grounded:
    found = scene.of("sharpness")[:1]
    return Grounded(text=f"The picture is {found[0].what}.", rests_on=found)


def _where(one: Seen, text: str) -> bool:
    """Whether a statement lies where the question asks, if it asks for a place."""
    asked = [word for word in ("left", "right", "top", "bottom", "middle") if re.search(rf"\b{word}\b", text)]
    return not asked or any(word in one.place for word in asked)


def _quoted(lines: Sequence[Seen]) -> str:
    return "; ".join(one.what for one in lines)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _words(text: str) -> set[str]:
    return set(_WORDS.findall(text.lower()))


def as_json(grounded: Grounded) -> dict[str, Any]:
    """An answer as an object."""
    return {"text": grounded.text, "rests_on": [one.body() for one in grounded.rests_on]}
