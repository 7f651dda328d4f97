"""Text from files, made visible: what a terminal would obey, hide or reorder is shown as an escape instead."""

from __future__ import annotations

import json
from typing import Any


def visible(text: str, *, keep: str = "", longest: int | None = None) -> str:
    """`text` on one line, every character of it a glyph or a plain space.

    Control characters (terminal escapes, line ends), characters that reorder or hide what stands beside them, other
    spaces, lone surrogates and unassigned code points become `\\x1b`, `\\u202e` and the like (`str.isprintable`);
    those in `keep` stay. More than `longest` characters are cut in the middle.
    """
    if longest is not None and len(text) > longest:
        text = f"{text[: longest // 2]} … {text[len(text) - longest // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escape(c) for c in text)


def valid_text(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates, as names of files may hold, replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def visible_json(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON whose every character but the line ends of `indent` is a glyph: the same value when read."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
