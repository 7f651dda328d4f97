"""Text as a reader sees it: without invisible signs, with plain letters for those that only look like them, and with
words whole that are written letter by letter.

What was learnt from plain words knows none that are written with other signs, though people read them as the same.
"""

from __future__ import annotations

import re
import unicodedata

_CYRILLIC, _GREEK = "асеіјоруѕхһԁԛԝвкмнтАВСЕНІЈКМОРЅТХУ", "αεικονρτυχΑΒΕΗΙΚΜΝΟΡΤΥΧΖ"
_LIKE = dict(
    zip(
        map(ord, _CYRILLIC + _GREEK),
        "aceijopysxhdqwbkmhtABCEHIJKMOPSTXY" + "aeikovptuxABEHIKMNOPTYXZ",
        strict=True,
    )
)
"""Letters of other alphabets that look like Latin ones (a part of the Unicode Consortium's confusables.txt)."""
_FORMS = re.compile("[\uff01-\uff5e\u24b6-\u24e9\U0001d400-\U0001d7ff]+")
"""Letters and signs of full width, in circles, and of mathematics."""
_TOKEN = re.compile(r"\S+")
_LETTER = r"[^\W\d_]"
_SPELLED, _SHORT = (
    re.compile(rf"(?<![^\W_]){_LETTER}([ \-._*·|/+~]){_LETTER}(?:\1{_LETTER}){{{more}}}(?:\1(?=[^\w\s]))?(?![^\W_])")
    for more in ("2,", "0,1")
)
"""Letters, each alone, with the same sign between them, and before what ends the word: four or more, and fewer."""
MARKED = 4
"""Letters of a word from which on marks are taken off, where there are as many."""


def plain(text: str) -> str:
    """`text` as the filter reads it; of what is ASCII only words that are spelled out are written otherwise."""
    text = lettered(text)
    if _SPELLED.search(text) is None:
        return text
    for length in (_SPELLED, _SHORT):  # short ones stand alone in any text: initials, A/B, e.g.
        text = length.sub(lambda word: word[0].replace(word[1], ""), text)
    return text


def lettered(text: str) -> str:
    """`text` with plain letters; a piece of it may end within a word, which only the whole shows to be spelled out."""
    if text.isascii():
        return text
    letters = _FORMS.sub(lambda form: unicodedata.normalize("NFKC", form[0]), text)
    seen = "".join(c for c in letters if unicodedata.category(c) != "Cf")
    return _TOKEN.sub(lambda token: _plain_word(token[0]), seen)


def _plain_word(word: str) -> str:
    if word.isascii():
        return word
    if any(c.isascii() and c.isalpha() for c in word):
        word = word.translate(_LIKE)
    parts = unicodedata.normalize("NFD", word)
    letters = sum(c.isascii() and c.isalpha() for c in parts)
    marks = sum(unicodedata.category(c) == "Mn" for c in parts)
    # A language's own accents stand on some letters of a word, not on all, and stay.
    if letters >= MARKED and marks >= letters:
        return "".join(c for c in parts if unicodedata.category(c) != "Mn")
    return word
