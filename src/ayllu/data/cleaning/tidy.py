"""Characters put right, and nothing that means something lost: Unicode, line breaks, spaces, indentation."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    # ECMA-48, section 5: control sequences, then strings up to their end, then the shorter escapes.
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]"
    # The same in eight bits, of which only what has a number cannot be a broken quotation mark.
    r"|\x9b[0-9][0-9;]*[@-~]"
)
_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_ESCAPE_ENTITY = re.compile(r"&#(?:0*27|x0*1b);", re.IGNORECASE)
_LINE_BREAK = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufff9-\ufffb]")
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")
_HARMLESS = frozenset(map(chr, range(32, 127))) | frozenset("\n\t‘’“”–—…")
_SPACES = re.compile(r"[^\S\n]+")
_EDGES = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")
_INDENTED = re.compile(r"^(?: {2}|\t| \t)", re.MULTILINE)


def tidy(text: str) -> str:
    """Unicode repaired (ftfy: mojibake, ligatures, HTML entities), escapes and control characters gone, spaces even.

    Quotation marks become straight, and whatever ends a line or a page becomes a line break. The indentation of lines
    stays where some have two spaces or a tab more than others: it is the shape of code, lists and verse.
    """
    if "&#" in text:
        text = _ESCAPE_ENTITY.sub("\x1b", text)
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPE.sub("", text)
    if _ENTITY.search(text) or not (text.isascii() or _HARMLESS.issuperset(text)):
        import ftfy

        text = ftfy.fix_text(text)
    elif not text.isascii():
        # Nothing here could be part of a broken character; ftfy would only make the quotes straight.
        text = text.translate(_STRAIGHT)
    text = _CONTROL.sub("", _LINE_BREAK.sub("\n", text))
    text = _even_lines(text) if _INDENTED.search(text) else _EDGES.sub("\n", _SPACES.sub(" ", text))
    return _BLANK_LINES.sub("\n\n", text).strip()


def _even_lines(text: str) -> str:
    """The lines with even spaces and without the indentation that all of them share; the rest of it stays."""
    split = [(line[: len(line) - len(line.lstrip(" \t"))], line) for line in text.split("\n")]
    pairs = [(indent, _SPACES.sub(" ", line).strip()) for indent, line in split]
    indents = [indent for indent, words in pairs if words] or [""]
    first, last = min(indents), max(indents)
    common = next((i for i, sign in enumerate(first) if last[i : i + 1] != sign), len(first))
    lines = [(indent[common:], words) for indent, words in pairs]
    deep = any(words and (len(indent) > 1 or "\t" in indent) for indent, words in lines)
    return "\n".join((indent if deep else "") + words if words else "" for indent, words in lines)
