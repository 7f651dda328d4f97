"""Approved traces of the assistant as conversations that a recipe learns from, beside one's own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from ayllu.lab.progress import say
from ayllu.lab.visible import visible
from ayllu.recipes.taught import BESIDE


def with_traces(traces: Path, chats: str | None, keep: Callable[[Path, str], str]) -> str:
    """The digest of a file with the lessons of `traces`, behind the conversations of the digest `chats`.

    `keep` takes a file in, with the names of what it was made of, and gives its digest. UserError where no trace can
    be learnt from.
    """
    from ayllu.assistant.lessons import as_lines, lessons_of
    from ayllu.data.archive import default_cache
    from ayllu.data.conversations.chats import name_of_copy, stored_copy

    lessons, left = lessons_of(traces)
    said = ", ".join(f"{count} {why}" for why, count in left.items())
    say(
        f"{visible(str(traces))}: {len(lessons)} approved traces are learnt from"
        + (f"; left out: {said}" if said else "")
    )
    own = _lines(stored_copy(chats, default_cache()).read_text(encoding="utf-8")) if chats is not None else ""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "lessons.jsonl"
        file.write_text(own + as_lines(lessons), encoding="utf-8")
        called = [name_of_copy(chats, default_cache())] if chats is not None else []
        return keep(file, BESIDE.join([*called, str(traces)]))


def _lines(text: str) -> str:
    """Rows of a file, which may be one JSON list, a line each."""
    if text.lstrip().startswith("["):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in json.loads(text))
    return text.rstrip("\n") + "\n"
