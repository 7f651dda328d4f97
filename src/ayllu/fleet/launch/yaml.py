"""Plain values as YAML. Strings are quoted unless they are plain words, so that nothing is taken for a number."""

from __future__ import annotations

import json
import re
from typing import Any

PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def _quoted(text: str) -> str:
    escaped = []
    for character in text:
        code = ord(character)
        if character in '"\\':
            escaped.append("\\" + character)
        elif character.isprintable():
            escaped.append(character)
        else:
            escaped.append(f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}")
    return '"' + "".join(escaped) + '"'


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in WORDS
        return value if plain else _quoted(value)
    if isinstance(value, float):
        # YAML 1.1 takes 1e+20 for a text; it wants the point.
        digits, mark, exponent = repr(value).partition("e")
        return (digits if "." in digits else digits + ".0") + mark + exponent
    return json.dumps(value)


def _text(value: str, indent: int) -> str:
    body = "".join(f"{' ' * indent}{line}\n" if line else "\n" for line in value.removesuffix("\n").split("\n"))
    return f"|{'' if value.endswith(chr(10)) else '-'}\n{body}"


def dump(value: dict[str, Any] | list[Any], indent: int = 0) -> str:
    """`value` as a YAML document: mappings, lists, strings, numbers, booleans and None; longer texts as blocks."""
    pad = " " * indent
    lines = []
    pairs = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for key, item in pairs:
        head = f"{pad}{_scalar(key)}:" if key is not None else f"{pad}-"
        if isinstance(item, (dict, list)) and item:
            inner = dump(item, indent + 2)
            lines.append(f"{head}\n{inner}" if key is not None else f"{head} {inner[indent + 2 :]}")
        elif isinstance(item, (dict, list)):
            lines.append(f"{head} {'{}' if isinstance(item, dict) else '[]'}\n")
        elif isinstance(item, str) and _is_block(item):
            lines.append(f"{head} {_text(item, indent + 2)}")
        else:
            lines.append(f"{head} {_scalar(item)}\n")
    return "".join(lines)


def _is_block(text: str) -> bool:
    """Whether the text has several lines and can stand as a block without losing a blank."""
    lines = text.split("\n")
    printable = all(line.isprintable() for line in lines)
    return len(lines) > 2 and printable and lines[0][:1] not in ("", " ") and not text.endswith("\n\n")
