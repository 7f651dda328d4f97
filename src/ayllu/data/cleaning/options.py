"""The rules of the cleaning as a user gives them: languages, and limits as NAME=LIMIT."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from ayllu.data.cleaning.quality import CleanRules, known_languages
from ayllu.lab.error import UserError

ANY = "any"
OFF = "off"
_LOOSE = 10**9
"""A largest share or count that nothing reaches."""
BEHIND = {
    "too few words": "words_min",
    "too many words": "words_max",
    "odd word length": "word_length_max",
    "too many symbols": "symbol_ratio_max",
    "mostly bullets": "bullet_lines_max",
    "lines cut short": "ellipsis_lines_max",
    "too few letters": "alphabetic_words_min",
    "no stop words": "stop_words_min",
    "repeated lines": "duplicate_lines_max",
    "repeated paragraphs": "duplicate_paragraphs_max",
    "lines without punctuation": "punctuated_lines_min",
    "mostly short lines": "short_lines_max",
    "mostly line breaks": "newline_ratio_max",
    "near duplicate": "near_duplicate_jaccard",
    "undecodable": "replaced_max",
}
"""The limit behind each rule that the report names."""


def read_rules(language: Sequence[str] = ("en",), limits: Sequence[str] = ()) -> CleanRules:
    """The rules with these languages (`any` for all) and limits (`words_min=5`, `stop_words_min=off`).

    Raises UserError where a language, a name or a limit makes no sense.
    """
    changed: dict[str, Any] = {}
    for limit in limits:
        name, equals, value = limit.partition("=")
        if name not in _defaults() or not equals:
            raise UserError(
                f"{limit!r} sets no rule of the cleaning: write NAME=LIMIT with one of {', '.join(_defaults())}"
            )
        if name in changed:
            raise UserError(f"the rule {name} is set twice: set it once")
        changed[name] = _value(name, value, _defaults()[name])
    return dataclasses.replace(CleanRules(language=_languages(language)), **changed)


def loosened_by(rule: str) -> str:
    """The option that loosens the rule which the report calls so."""
    if rule == "other language":
        return f"--language, with its code or {ANY}"
    name = BEHIND.get(rule) or ("top_ngrams_max" if rule.startswith("one ") else "duplicate_ngrams_max")
    return f"--rules {name}={OFF}" if rule not in ("empty", "exact duplicate") else "other sources"


def _defaults() -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(CleanRules) if field.name != "language"}


def _languages(given: Sequence[str]) -> str | tuple[str, ...] | None:
    if not given:
        raise UserError(f"no language is named: give codes such as en or es, or {ANY}")
    if ANY in given:
        if len(given) > 1:
            raise UserError(f"{ANY} stands for every language: give it alone, or name the languages")
        return None
    if tuple(given) == ("en",):
        return "en"
    known = known_languages()
    for language in given:
        if language not in known:
            raise UserError(
                f"no language is called {language!r}: give ISO 639-1 codes such as en, es or de, or {ANY} for all"
            )
    return given[0] if len(given) == 1 else tuple(sorted(set(given)))


def _value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text not in ("on", OFF):
            raise UserError(f"the rule {name} is {text!r}: write {name}=on or {name}={OFF}")
        return text == "on"
    if text == OFF:
        return _off(name, default)
    try:
        if isinstance(default, tuple):
            pairs = [pair.split(":") for pair in text.split(",")]
            return tuple((int(n), _number(share)) for n, share in pairs)
        return int(text) if isinstance(default, int) and int(text) >= 0 else _number(text)
    except ValueError:
        form = "like 2:0.2,3:0.18" if isinstance(default, tuple) else "a number from 0 on"
        raise UserError(f"the rule {name} is {text!r}: give {form}, or {OFF}") from None


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def _off(name: str, default: Any) -> Any:
    if isinstance(default, tuple):
        return ()
    if name == "near_duplicate_jaccard":
        return 2.0
    if name.endswith("_min") or name == "language_score":
        return 0
    if name.endswith("_max"):
        return _LOOSE
    raise UserError(f"the rule {name} has no {OFF}: give a number")
