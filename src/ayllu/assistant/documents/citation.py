"""A citation: which passage of which file, as text that can be typed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_FORM = re.compile(r"\[?([0-9a-f]{8})(?:#(\d{1,9}))?:(\d{1,12})-(\d{1,12})\]?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """A place in a file: characters `start` to `end` of the text of one of its pages."""

    file: str
    page: int
    """From 1, in the order in which the file has them; 1 for a file without pages."""
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.file}#{self.page}:{self.start}-{self.end}"


def file_id(path: str) -> str:
    """The 8 digits that stand for a file: the same for the same place."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def parse(text: str) -> Citation:
    """The citation that a text is, with or without brackets. Raises ValueError."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no citation; one looks like 3f9a01bc#2:140-980")
    file, page, start, end = match.groups()
    return Citation(file=file, page=int(page or 1), start=int(start), end=int(end))
