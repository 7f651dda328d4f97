"""What an answer rests on, as annotations of its message: files that programs have written, passages found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ayllu.serve.containers.kept import WORK
from ayllu.serve.responses.hosted.tools import MadeFile

SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|$)", re.MULTILINE)
WORD = re.compile(r"\w+(?:[.,]\d+)*")
SHORT = 3
"""Letters of a word that says little of where a sentence comes from."""
LEAST_WORDS, LEAST_SHARE = 3, 0.6
"""Words of a sentence without a longer number, and the part of them that a passage must have to be what it rests on."""


def citations(files: Sequence[MadeFile], text: str) -> list[dict[str, Any]]:
    """A `container_file_citation` for each file, with the place of the text that names it: 0 to 0 where none does."""
    found = []
    for file in {file.id: file for file in files}.values():  # one that was written twice is one file
        start, end = _place(text, file.path)
        place = {"start_index": start, "end_index": end}
        named = {"container_id": file.container, "file_id": file.id, "filename": PurePosixPath(file.path).name}
        found.append({"type": "container_file_citation", **named, **place})
    return found


def file_citations(results: Sequence[Mapping[str, Any]], text: str) -> list[dict[str, Any]]:
    """A `file_citation` behind each sentence whose words and numbers stand in a passage of `results`.

    The model is not asked what it rests on: a sentence of which the passages say nothing is left without. Of sentences
    in a row that rest on one file the last has it.
    """
    passages = [(result, _words(result["text"])) for result in results]
    found: list[dict[str, Any]] = []
    last = None
    for sentence in SENTENCE.finditer(text):
        result = _rests_on(_words(sentence.group()), passages)
        if result is None:
            last = None
            continue
        if last == result["file_id"]:
            found.pop()
        last = result["file_id"]
        named = {"file_id": result["file_id"], "filename": result["filename"]}
        found.append({"type": "file_citation", **named, "index": sentence.end()})
    return found


def _rests_on(
    words: frozenset[str], passages: Sequence[tuple[Mapping[str, Any], frozenset[str]]]
) -> Mapping[str, Any] | None:
    """The result that has most of a sentence's words, and all of its numbers."""
    numbers = {word for word in words if word[0].isdigit()}
    # A single digit is in most passages, and may be that of a list.
    if len(words) < LEAST_WORDS and max(map(len, numbers), default=0) < 2:
        return None
    best, most = None, 0.0
    for result, known in passages:
        share = len(words & known) / len(words)
        if numbers <= known and share >= LEAST_SHARE and share > most:
            best, most = result, share
    return best


def _words(text: str) -> frozenset[str]:
    """Numbers and longer words, in small letters."""
    found = (word.lower() for word in WORD.findall(text))
    return frozenset(word for word in found if len(word) > SHORT or word[0].isdigit())


def _place(text: str, path: str) -> tuple[int, int]:
    """Where a text first names a file: best as the link that models are taught to write."""
    for form in (f"sandbox:{WORK}/{path}", f"{WORK}/{path}", path):
        if match := re.search(rf"(?<![\w./-]){re.escape(form)}(?![\w-])", text):
            return match.span()
    return 0, 0
