"""Which licences let a model that was trained on a source be released, and what a source's licence says.

Sources write their licence as an SPDX expression, or several with what each is for, and a remark in parentheses. They
are parsed (license-expression), not searched for words that look right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from license_expression import (
    ExpressionError,
    LicenseSymbol,
    LicenseWithExceptionSymbol,
    Licensing,
    get_license_index,
)

PUBLIC_DOMAIN = "public domain"
PERMITTING = (
    "0BSD",
    "AFL-3.0",
    "Apache-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-2-Clause-Patent",
    "BSD-3-Clause",
    "CC-BY-2.0",
    "CC-BY-2.5",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-2.0",
    "CC-BY-SA-2.5",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDLA-Permissive-1.0",
    "CDLA-Permissive-2.0",
    "BlueOak-1.0.0",
    "BSL-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "ODC-By-1.0",
    "OpenMDW-1.0",
    "PDDL-1.0",
    "PSF-2.0",
    "Unlicense",
    "WordNet-3.0",
    "Zlib",
    PUBLIC_DOMAIN,
)
"""They allow copying, changing and commercial use of the text; those that ask for credit get it in LICENSES.md."""

LONGEST = 1000
"""Characters of the words for a licence: they may come from a stranger's release."""
ALIASES = {
    "AFL-3.0": ("AFL 3.0",),
    "Apache-2.0": ("Apache 2.0", "Apache License 2.0", "Apache-2", "Apache License, Version 2.0"),
    "BSD-2-Clause": ("BSD 2-Clause", "2-Clause BSD"),
    "BSD-3-Clause": ("BSD 3-Clause", "3-Clause BSD"),
    "CC-BY-2.0": ("CC BY 2.0",),
    "CC-BY-2.5": ("CC BY 2.5",),
    "CC-BY-3.0": ("CC BY 3.0",),
    "CC-BY-4.0": ("CC BY 4.0",),
    "CC-BY-SA-2.0": ("CC BY-SA 2.0",),
    "CC-BY-SA-2.5": ("CC BY-SA 2.5",),
    "CC-BY-SA-3.0": ("CC BY-SA 3.0",),
    "CC-BY-SA-4.0": ("CC BY-SA 4.0",),
    "CC0-1.0": ("CC0", "CC0 1.0", "CC-0"),
    "MIT": ("MIT License", "The MIT License", "Expat"),
    "ODC-By-1.0": ("ODC-By", "ODC-By 1.0"),
    "PDDL-1.0": ("PDDL", "PDDL 1.0"),
    PUBLIC_DOMAIN: ("public-domain", "CC-PDDC"),
}
"""What people, the hub's cards and Debian's copyright files write for an SPDX identifier."""

_FORBIDDING = re.compile(
    r"\b(?:NC|ND|non-?commercial|no derivatives|research only|proprietary|all rights reserved|unknown|not stated"
    r"|academic use)\b",
    re.IGNORECASE,
)
_LIMITING = re.compile(
    r"\b(?:\w*commercial\w*|only|purposes?|research\w*|academ\w*|educat\w*|personal|evaluation|except\w*|exclud\w*"
    r"|unless|but|restrict\w*|prohibit\w*|forbid\w*|permission|consent|without|no)\b",
    re.IGNORECASE,
)
"""Words by which a remark takes back some of the licence that it stands behind: the clearest ones, to be quoted."""
_PLACE = r"(?:package|archive|repository|data ?set|database|corpus|readme|card|home ?page|website|page|file|metadata)"
_PAPER = rf"(?:the |its )?(?:{_PLACE}'s )?(?:licen[cs]e|copying|notice|copyright|{_PLACE})(?:[ .](?:file|page|md|txt))?"
_HOME = rf"(?:the |its )?(?:[\w.-]+'s )?{_PLACE}"
_WHERE = re.compile(
    rf"(?:see |from |(?:stated )?in )?(?:https?://\S+|{_PAPER}(?: (?:of|in) {_HOME})*|{_HOME})"
    r"|stated by whoever ran the recipe|as it is commonly cited|the archive does not (?:repeat|state) it"
    r"|see the (?:description|title) for the articles' own",
    re.IGNORECASE,
)
"""What a remark may say: where the licence is written. Anything else could take back some of it."""
_REMARK = re.compile(r"\s*\(([^()]*)\)\s*$")
_PART = re.compile(r"\s*(?:(?:contents?|texts?|data|data ?set|database|code|package)\s+)?(.*?)\s*", re.IGNORECASE)
"""One of several things with a licence each, and which it is: `contents CC0-1.0`."""

LICENCE_TEXTS = {"Apache-2.0": "apache-2.0.txt"}
"""Licences that weights can be given under, and the file with the text of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Licence:
    """What the words of a source mean."""

    ids: tuple[str, ...]
    """Identifiers found in them that are on the list."""
    objection: str | None
    """Why a model trained on it may not be released, or None."""


def read_licence(words: str, permitted: tuple[str, ...] = PERMITTING) -> Licence:
    """Understand the licence `words` of a source: SPDX expressions, apart by commas or semicolons, then a remark.

    All sides of AND must be permitted, of OR one; `X WITH EXCEPTION` permits what X does and more. Whatever is not
    understood, or not on the list, is an objection.
    """
    if forbidding := _FORBIDDING.search(words.partition("(")[0]):
        said = f"says “{forbidding[0]}”"
    else:
        said = "names no licence that can be read as an SPDX expression, such as CC-BY-4.0"
    if len(words) > LONGEST:
        return Licence(ids=(), objection=f"has {len(words):,} characters, more than any expression needs")
    parts, remarks = _parts(words, permitted)
    parsed = [_parse(part, permitted) for part in parts]
    if not parsed or any(tree is None for tree in parsed):
        return Licence(ids=(), objection=said)
    for remark in remarks:
        if limiting := _FORBIDDING.search(remark) or _LIMITING.search(remark):
            return Licence(ids=(), objection=f"says “{limiting[0]}” beside its licence")
        if _parse(remark, permitted) is not None:
            return Licence(ids=(), objection=f"names {remark} in a remark; say AND or OR")
        for said in filter(None, map(str.strip, remark.split(";"))):
            if not _WHERE.fullmatch(said):
                return Licence(
                    ids=(), objection=f"says “{said}” beside its licence, which is not where that is written"
                )
    allowed = {name.lower() for name in permitted}
    keys = dict.fromkeys(key for tree in parsed for key in _keys(tree))
    ids = tuple(key for key in keys if key.lower() in allowed)
    objection = next(filter(None, (_objection(tree, allowed) for tree in parsed)), None)
    return Licence(ids=ids, objection=objection)


def _parts(words: str, permitted: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The expressions in some words, and the remarks in parentheses behind them."""
    remarks = []
    while (found := _REMARK.search(words)) and _parse(words, permitted) is None:
        remarks.append(found[1].strip())
        words = words[: found.start()]
    if _parse(words, permitted) is not None:
        return [words], remarks
    labelled = (_PART.fullmatch(part) for part in re.split(r"[;,]", words))
    return [match[1] for match in labelled if match is not None], remarks


@lru_cache(maxsize=8)
def _licensing(permitted: tuple[str, ...]) -> Licensing:
    """A parser that knows the SPDX list, what is permitted beside it, and how people write some of both."""
    symbols: dict[str, LicenseSymbol] = {}
    for entry in get_license_index():
        key = entry.get("spdx_license_key")
        if key and not key.startswith("LicenseRef-"):
            former = [name for name in entry["other_spdx_license_keys"] if not name.startswith("LicenseRef-")]
            symbols[key.lower()] = LicenseSymbol(key, aliases=former, is_exception=entry["is_exception"])
    for name in (*PERMITTING, *permitted):
        known = symbols.get(name.lower())
        aliases = {*(known.aliases if known else ()), *ALIASES.get(name, ())}
        symbols[name.lower()] = LicenseSymbol(name, aliases=tuple(sorted(aliases)))
    spoken = {name.lower() for symbol in symbols.values() for name in symbol.aliases}
    return Licensing([symbol for key, symbol in symbols.items() if key not in spoken], quiet=True)


@lru_cache(maxsize=256)
def _parse(words: str, permitted: tuple[str, ...]) -> Any:
    """The tree of an expression in which at least one licence is known or has a number; None for anything else."""
    try:
        tree = _licensing(permitted).parse(words)
    except ExpressionError:
        return None
    if tree is None or not any(_looks_like_one(key, permitted) for key in _keys(tree)):
        return None
    return tree


def _looks_like_one(key: str, permitted: tuple[str, ...]) -> bool:
    known = key in _licensing(permitted).known_symbols
    return known or (" " not in key and any(map(str.isdigit, key)) and any(map(str.isalpha, key)))


def _keys(tree: Any) -> list[str]:
    """The licences that an expression names, without exceptions."""
    symbols = (getattr(symbol, "license_symbol", symbol) for symbol in tree.symbols)
    return [symbol.key for symbol in symbols]


def _objection(tree: Any, allowed: set[str]) -> str | None:
    """Why an expression does not permit a release, or None."""
    if isinstance(tree, LicenseWithExceptionSymbol):
        if not tree.exception_symbol.is_exception:
            return f"names an exception that is not on the SPDX list ({tree.exception_symbol.key})"
        return _objection(tree.license_symbol, allowed)
    if isinstance(tree, LicenseSymbol):
        if tree.key.lower() in allowed:
            return None
        forbidding = _FORBIDDING.search(tree.key)
        return (
            f"says “{forbidding[0]}”"
            if forbidding
            else f"{tree.key} is not on the list of licences that allow a release"
        )
    objections = [_objection(side, allowed) for side in tree.args]
    if tree.operator.strip() == "OR" and None in objections:
        return None
    return next(filter(None, objections), None)


def licence_text(name: str) -> str:
    """The full text of a licence for weights. Raises KeyError for one whose text is not at hand."""
    return files("ayllu.release").joinpath(LICENCE_TEXTS[name]).read_text(encoding="utf-8")
