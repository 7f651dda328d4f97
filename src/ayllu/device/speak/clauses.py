"""Text that is still being written, cut where a voice may begin."""

from __future__ import annotations

import re

ENDS = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|\n+|[。！？]")
PAUSES = re.compile(r"[,;:][\"'”’)\]]*(?=\s)|\s[–—-](?=\s)")
SHORT_FORMS = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|Prof|St|vs|etc|e\.g|i\.e|a\.m|p\.m|No|Jr|Sr|[A-Z])\.$")
"""Behind these a full stop ends no sentence."""
FIRST, LONGEST = 36, 160
"""Characters after which the first piece is cut at a word's end, and after which any is."""


class Clauses:
    """Pieces to be spoken: the first is cut at the first pause, later ones at the ends of sentences."""

    def __init__(self) -> None:
        self._text = ""
        self._first = True

    def push(self, text: str) -> list[str]:
        """The pieces that have become complete."""
        self._text += text
        found = []
        while (cut := self._cut()) is not None:
            piece, self._text = self._text[:cut].strip(), self._text[cut:].lstrip()
            if re.search(r"\w", piece):
                found.append(piece)
                self._first = False
        return found

    def close(self) -> list[str]:
        """What is left at the end of the text."""
        piece, self._text = self._text.strip(), ""
        self._first = True
        return [piece] if re.search(r"\w", piece) else []

    def _cut(self) -> int | None:
        ends = [match.end() for match in ENDS.finditer(self._text) if not SHORT_FORMS.search(self._text[: match.end()])]
        if self._first or len(self._text) > LONGEST:
            ends += [match.end() for match in PAUSES.finditer(self._text)]
        if ends:
            return min(ends)
        most = FIRST if self._first else LONGEST
        space = self._text.rfind(" ", most // 2, len(self._text))
        return space if len(self._text) > most and space > 0 else None
