"""Which of two recognisers to believe, and what one of them says twice."""

from __future__ import annotations

import re

APART = 3
"""A second opinion that has a third and so many words more or fewer than the first has invented or lost some."""


def second_opinion(first: str, second: str) -> str:
    """The text to keep: the second recogniser's, unless it has invented or lost words; what it says again is cut."""
    second = said_once(second, first)
    a, b = len(first.split()), len(second.split())
    return second if b and abs(a - b) < APART + a // 3 else first


def said_once(text: str, first: str) -> str:
    """A text without its own beginning at its end, where the first recogniser heard about so many words fewer."""
    about = len(first.split())
    for count in range(max(about - 1, 1), about + 2):
        if _again(text, count):
            return " ".join(text.split()[:count])
    return text


def says_again(text: str) -> bool:
    """Whether a text may be a sentence with its own beginning at its end.

    Whisper starts anew where a sentence is over and the sound is not (seen of tiny.en); people do now and then.
    """
    return any(_again(text, count) for count in range(2, len(text.split())))


def _again(text: str, count: int) -> bool:
    """Whether what follows the first `count` words is the beginning of them, of two words at least."""
    words = [re.sub(r"\W", "", word) for word in text.lower().split()]
    following = words[count:]
    return 1 < len(following) <= count and words[: len(following)] == following
