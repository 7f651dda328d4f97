"""Files that programs have written, as annotations of the message behind them: by these clients download them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from ayllu.serve.containers.kept import WORK
from ayllu.serve.responses.hosted.tools import MadeFile


def citations(files: Sequence[MadeFile], text: str) -> list[dict[str, Any]]:
    """A `container_file_citation` for each file, with the place of the text that names it: 0 to 0 where none does."""
    found = []
    for file in {file.id: file for file in files}.values():  # one that was written twice is one file
        start, end = _place(text, file.path)
        place = {"start_index": start, "end_index": end}
        named = {"container_id": file.container, "file_id": file.id, "filename": PurePosixPath(file.path).name}
        found.append({"type": "container_file_citation", **named, **place})
    return found


def _place(text: str, path: str) -> tuple[int, int]:
    """Where a text first names a file: best as the link that models are taught to write."""
    for form in (f"sandbox:{WORK}/{path}", f"{WORK}/{path}", path):
        if match := re.search(rf"(?<![\w./-]){re.escape(form)}(?![\w-])", text):
            return match.span()
    return 0, 0
