"""Numbers that say where they come from: written with a reference to the records beside them, and checked against it.

A marked page shows `5,512<!-- records.json#/model/parameters -->`: the comment names the file beside the page and the
JSON pointer (RFC 6901) of the value. Front matter says the same behind ` # `. `number_problems` reports every number
that its reference does not give, and every number without one. Code (between backticks), addresses, and numbers that
are part of a name, as in Apache-2.0, are no claims; but a measurement in backticks is one, and so is a number in other
signs than digits. HTML, characters by their number (`&#57;`), and fences that programs could read in two ways may not
stand on a page at all: what a reader sees would not be what was checked.

A page is published as plain text: `detach` takes the marks out, and references.json says where each of them stood;
`attach` puts them back. Pages of older releases carry their marks themselves.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.integrity import strict_json

Records = Mapping[str, Any]
"""File name to its JSON value."""

_REFERENCE = re.compile(r"<!-- ([\w.-]+\.json)#(/\S*) -->| # ([\w.-]+\.json)#(/\S*)$")
_SOURCE = re.compile(r"[\w.-]+\.json#/\S*")
_NUMBER = re.compile(r"(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?)( %)?$")
_NO_CLAIM = re.compile(r"`[^`]*`|<https?://[^\s<>]*>|^\s*(?:#+|-) ")
_LINK = re.compile(r"(?<!\\)(\[[^\[\]\\]*)\]\([^\s()]*\)")
"""A link, of which its address is no claim."""
_BARE_NUMBER = re.compile(r"(?<!\w)(?<!\w[.\-])[-+]?\.?\d[\d.,]*(?: %)?")
_MEASURED = re.compile(r"`\s*([-+]?\d[\d,]*(?:\.\d+)?\s*%|[-+]?\d[\d,]*\.\d+)\s*`")
"""Code that is nothing but a measurement."""
_MARKUP = re.compile(r"<[A-Za-z/!?]|&(?:#|[A-Za-z]\w*;)")
_TWO_WAYS = ("``", "~~~", "\\`")
"""Signs of code of which programs, and this one, would see the end in different places."""
_FENCE, _FENCE_END = re.compile(r"```[\w-]*"), re.compile(r" {0,3}`{3,}[ \t]*")
"""What opens a block of code here, which is less than CommonMark 0.31.2 allows, and what closes it there."""
LEAST = 5e-16
"""A smaller value may be shown as 0.0."""
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<\x7f\x85\u2028\u2029"}
NOTHING = "–"
"""Shown where a value was not measured."""


class Pages:
    """Writes values of the records into pages, each with its reference."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def get(self, file: str, *path: str | int) -> Any:
        """The value at `path`, or None where there is none."""
        try:
            return resolve_pointer(self.records, file, pointer(*path))
        except LookupError:
            return None

    def show(self, file: str, *path: str | int, percent: bool = False) -> str:
        """The value at `path` for a table or a sentence, with its reference; a dash where there is none."""
        value = self.get(file, *path)
        text = format_value(value, percent=percent)
        return text if text == NOTHING else f"{text}<!-- {file}#{pointer(*path)} -->"

    def yaml(self, file: str, *path: str | int) -> str:
        """The value at `path` as YAML, with its reference in a comment."""
        return f"{_quoted(self.get(file, *path))} # {file}#{pointer(*path)}"


def pointer(*path: str | int) -> str:
    """The JSON pointer of `path` (RFC 6901); a space is written %20, since a reference ends at one."""
    steps = (str(step).replace("~", "~0").replace("/", "~1").replace("%", "%25").replace(" ", "%20") for step in path)
    return "".join(f"/{step}" for step in steps)


def resolve_pointer(records: Records, file: str, where: str) -> Any:
    """The value that `where` points to. Raises LookupError when there is none."""
    value = records[file]
    for step in where.split("/")[1:]:
        key = step.replace("%20", " ").replace("%25", "%").replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            if not key.isdigit():
                raise KeyError(key)
            value = value[int(key)]
        elif isinstance(value, dict):
            value = value[key]
        else:
            raise KeyError(key)
    return value


def format_value(value: Any, *, percent: bool = False) -> str:
    """A value as a table shows it: thousands separated, at least four significant digits, text on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return " ".join(value.replace("|", "/").replace("<", "‹").replace(">", "›").replace("`", "'").split())
    if isinstance(value, int) and not percent:
        return f"{value:,}"
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NOTHING
    if percent:
        # A share that is not nothing is not shown as nothing.
        small = LEAST < abs(100 * value) < 0.05
        return f"{100 * value:.{-math.floor(math.log10(abs(100 * value))) if small else 1}f} %"
    # Four significant digits, without an exponent and without zeros that say nothing.
    before = math.floor(math.log10(abs(value))) + 1 if value else 0
    text = f"{value:,.{min(max(4 - before, 1 if before < 4 else 0), 15)}f}"
    return text.rstrip("0") + "0" * text.rstrip("0").endswith(".") if "." in text else text


def json_object(text: str, name: str) -> dict[str, Any]:
    """The JSON object in `text`, the content of the file `name`. Raises ValueError for anything else."""
    try:
        value = strict_json(text)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds no JSON object")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file of the records. Raises UserError for a value that JSON cannot hold."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path.name} cannot hold a value of the records ({error}): record JSON values only") from None
    path.write_text(text + "\n", encoding="utf-8")


def _quoted(value: Any) -> str:
    """A value as YAML and JSON both read it, on one line, without what could be taken for a reference."""
    return json.dumps(value, ensure_ascii=False).translate(_UNSAFE)


def number_problems(text: str, records: Records) -> Iterator[tuple[int, str]]:
    """The line and what is wrong with it, for each number of a page's `text` that does not come from `records`."""
    number, fenced = 0, False
    for number, (line, fenced) in enumerate(_outside_code(text), start=1):
        if not fenced:
            yield from ((number, problem) for problem in _line_problems(line, records))
    if fenced and not _FENCE_END.fullmatch(text.split("\n")[-1]):
        yield number, "a block of code has no end"


def _outside_code(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to a block of code, its fences too."""
    fenced = False
    for line in text.split("\n"):
        was = fenced
        fenced = not _FENCE_END.fullmatch(line) if was else _FENCE.fullmatch(line) is not None
        yield line, was or fenced


def detach(page: str) -> tuple[str, list[dict[str, Any]]]:
    """A marked page as plain text, and its references: line (from 1), the column that the value ends at, its source."""
    lines, references = [], []
    for number, (line, fenced) in enumerate(_outside_code(page), start=1):
        plain, end = "", 0
        for match in () if fenced else _REFERENCE.finditer(line):
            plain += line[end : match.start()]
            end = match.end()
            source = f"{match[1] or match[3]}#{match[2] or match[4]}"
            references.append({"line": number, "end": len(plain), "source": source})
        lines.append(plain + line[end:])
    return "\n".join(lines), references


def attach(page: str, references: Any) -> str:
    """The marked page again. Raises ValueError, TypeError or LookupError where `references` are none of this page."""
    lines = page.split("\n")
    for reference in sorted(references, key=lambda entry: (entry["line"], entry["end"]), reverse=True):
        number, end, source = reference["line"], reference["end"], reference["source"]
        if not (isinstance(end, int) and 1 <= number <= len(lines) and end >= 0 and _SOURCE.fullmatch(source)):
            raise ValueError("a reference names no place of its page")
        line = lines[number - 1]
        lines[number - 1] = f"{line[:end]}<!-- {source} -->{line[end:]}"
    return "\n".join(lines)


def _line_problems(line: str, records: Records) -> Iterator[str]:
    rest, end = [], 0
    for match in _REFERENCE.finditer(line):
        file, where = match[1] or match[3], match[2] or match[4]
        before, end = line[end : match.start()], match.end()
        try:
            value = resolve_pointer(records, file, where)
        except LookupError:
            yield f"{file}#{where} does not exist"
            continue
        shown = _shown(before, value)
        if shown is None:
            yield f"“{before.strip(' |')[-40:]}” is not what {file}#{where} says ({format_value(value)})"
        else:
            rest.append(before[: len(before) - shown])
    rest.append(line[end:])
    whole = "".join(rest)
    if whole.count("`") % 2 or any(sign in whole for sign in _TWO_WAYS):
        yield "where code begins or ends can be read in two ways: put one backtick before and one behind it"
    for part in rest:
        prose = _NO_CLAIM.sub(" ", _LINK.sub(r"\1 ", part))
        for markup in _MARKUP.finditer(prose):
            yield f"“{prose[markup.start() :][:20]}” is shown as something else than it is: write it as plain text"
        for bare in (*_MEASURED.findall(part), *_signs(prose)):
            yield f"the number {bare} has no reference to the records"
        for bare in _BARE_NUMBER.finditer(prose):
            yield f"the number {bare[0].rstrip('.,')} has no reference to the records"


def _signs(text: str) -> Iterator[str]:
    """Numbers in signs that are no digits, such as ⁹⁰, ½ or Ⅸ; behind a letter, as in CO₂, they are part of a name."""
    for at, sign in enumerate("" if text.isascii() else text):
        if not sign.isascii() and unicodedata.category(sign) in ("No", "Nl") and not text[at - 1 : at].isalnum():
            yield text[at:].split()[0]


def _shown(before: str, value: Any) -> int | None:
    """How many characters at the end of `before` show `value`, or None when they show something else."""
    if isinstance(value, str | bool):
        for form in (format_value(value), _quoted(value)):
            if before.endswith(form):
                return len(form)
        return None
    match = _NUMBER.search(before)
    if not match or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    scale = 100 if match[3] else 1
    decimals = len(match[2] or "")
    exact = isinstance(value, int) and scale == 1 and decimals == 0
    same = (str(value) if exact else f"{value * scale:.{decimals}f}") == match[1].replace(",", "")
    # Rounding may leave out digits, as 1.447 does for 1.44683, but a small number needs some that are not zeros.
    if abs(value * scale) > LEAST and not match[1].strip("-0.,"):
        return None
    enough = decimals > 0 or exact or abs(value) >= 1000 or value * scale == int(value * scale)
    return len(match[0]) if same and enough else None
