"""Which licences let a model that was trained on a source be released, and what a source's licence says.

Sources write their licence as an SPDX identifier or a few words, with remarks in parentheses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

PUBLIC_DOMAIN = "public domain"
PERMITTING = (
    "0BSD",
    "AFL-3.0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC-BY-2.0",
    "CC-BY-2.5",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
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

_FORBIDDING = re.compile(
    r"\b(?:NC|ND|non-?commercial|no derivatives|research only|proprietary|all rights reserved|unknown|not stated"
    r"|academic use)\b",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"\b[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z]+)*-\d+(?:\.\d+)*(?:-\w+)*\b")
_REMARK = re.compile(r"\([^)]*\)")

LICENCE_TEXTS = {"Apache-2.0": "apache-2.0.txt"}
"""Licences that weights can be given under, and the file with the text of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Licence:
    """What the words of a source mean."""

    ids: tuple[str, ...]
    """Identifiers found in them."""
    objection: str | None
    """Why a model trained on it may not be released, or None."""


def read_licence(words: str, permitted: tuple[str, ...] = PERMITTING) -> Licence:
    """Understand the licence `words` of a source. What is not understood, or not on the list, is an objection."""
    said = _REMARK.sub(" ", words)
    known = tuple(name for name in dict.fromkeys((*PERMITTING, *permitted)) if _names(said, name))
    forbidding = _FORBIDDING.search(said)
    if forbidding:
        return Licence(ids=known, objection=f"says “{forbidding[0]}”")
    found = (*known, *_IDENTIFIER.findall(said))
    allowed = {name.lower() for name in permitted}
    others = [name for name in found if name.lower() not in allowed]
    if others:
        return Licence(ids=known, objection=f"{others[0]} is not on the list of licences that allow a release")
    if not known:
        return Licence(ids=(), objection="names no licence on the list of those that allow a release")
    return Licence(ids=known, objection=None)


def _names(said: str, licence: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(licence)}(?![\w-])", said, re.IGNORECASE) is not None


def licence_text(name: str) -> str:
    """The full text of a licence for weights. Raises KeyError for one whose text is not at hand."""
    return files("ayllu.release").joinpath(LICENCE_TEXTS[name]).read_text(encoding="utf-8")
