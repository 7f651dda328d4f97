"""The documents of a release, written into a folder beside it."""

from __future__ import annotations

import json
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.store import storage_told, write_atomically
from ayllu.release.documents.make import documents
from ayllu.release.files.contents import MANIFEST
from ayllu.release.gates import RECORDS, SCORES, SOURCES
from ayllu.release.verify import verify_release


def write_documents(folder: Path, out: Path, *, key: Path | None = None) -> dict[str, str]:
    """Write the documents of the release in `folder` into `out`; gives their texts by their files' names.

    Only a release that verifies has any: UserError with the first problem of another.
    """
    found = verify_release(folder, key)
    if found.problems:
        raise UserError(f"{folder} is not verified ({found.problems[0]}): documents are made of a whole release")
    if out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{out} is inside the release, which is signed as it is: choose another folder with --out")
    records = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in (RECORDS, SCORES, SOURCES)}
    records[RECORDS]["release"].setdefault("date", json.loads((folder / MANIFEST).read_text())["created"])
    try:
        made = documents(json.loads((folder / MANIFEST).read_text(encoding="utf-8")), records)
    except Exception as error:  # an older release verifies without any, and its records may hold whatever they do
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{folder} holds something that no document can be made of ({why})") from None
    with storage_told(out, "the documents"):
        out.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            write_atomically(out / name, text)
    return made
