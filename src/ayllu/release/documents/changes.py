"""What changed from one release to the next: model, sources, settings, files, and scores paired item by item."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from ayllu.evals.comparison.kept import compare_kept
from ayllu.lab.error import UserError
from ayllu.lab.store import write_atomically
from ayllu.release.documents.earlier import FACTS, SCORE_FILES, differences, earlier_place
from ayllu.release.documents.earlier import KINDS as EARLIER_KINDS
from ayllu.release.files.contents import MANIFEST
from ayllu.release.gates import RECORDS, SOURCES
from ayllu.release.verify import verify_release

KINDS = ("model", "sources", "settings", "files")


def changes(before: Path, after: Path) -> dict[str, Any]:
    """`model`, `sources`, `settings` and `files`: what differs, with its value `before` and `after` (None: not there).

    `scores` are those of `ayllu compare`: the difference is the later release minus the earlier, with its paired 95 %
    interval; `not_compared` says why there are none. UserError where one of the releases does not verify.
    """
    sides = [side(before), side(after)]
    try:
        scores = compare_kept(*((one["title"], {"release": one["folder"]}) for one in sides))
        problem = "" if scores else "no score was measured on both"
    except UserError as error:
        scores, problem = [], str(error)
    return {
        "before": sides[0]["title"],
        "after": sides[1]["title"],
        "same_key": sides[0]["key"] == sides[1]["key"],
        **{kind: list(differences(sides[0][kind], sides[1][kind])) for kind in KINDS},
        "scores": scores,
        "not_compared": problem,
    }


def side(folder: Path) -> dict[str, Any]:
    """What is compared of a release, which must verify, with its `title` and `key`. Raises UserError otherwise."""
    found = verify_release(folder)
    if found.problems:
        raise UserError(f"{folder} is not verified ({found.problems[0]}): whole releases are compared")
    records, sources, manifest = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in (RECORDS, SOURCES, MANIFEST)
    )
    try:
        files = {path: entry["bytes"] for path, entry in manifest["files"].items()}
        about = {"folder": folder, "title": found.title, "key": found.fingerprint, "files": files}
        return about | compared_parts(records, sources)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds records that cannot be compared ({type(error).__name__}: {error})") from None


def compared_parts(records: Any, sources: Any) -> dict[str, Any]:
    """`model`, `sources` and `settings` of a release, by name."""
    settings = (records.get("training") or {}).get("settings")
    return {
        "model": records["model"],
        "sources": {
            f"{source['name']}: {field}": source.get(field)
            for kind in ("corpus", "dialogues")
            for source in sources.get(kind) or []
            for field in ("licence", "documents", "bytes")
        },
        "settings": {
            f"{row['stage']}: {row['setting']}": row["value"]
            for row in (settings if isinstance(settings, list) else [])
        },
    }


def keep_earlier(folder: Path, cache: Path) -> str:
    """Keep what a change log needs of the release in `folder`; the digest under which `kept_earlier` finds it.

    So a recipe's key holds what the release is and not where it lies. Raises UserError where it does not verify.
    """
    found = side(folder)
    facts = {name: found[name] for name in ("title", "key", *EARLIER_KINDS)}
    text = json.dumps(facts | {"model_digest": found["model"]["digest"]}, sort_keys=True)
    state = hashlib.sha256(text.encode())
    for file in SCORE_FILES:
        state.update((folder / file).read_bytes())
    place = earlier_place(state.hexdigest(), cache)
    place.mkdir(parents=True, exist_ok=True)
    for file in SCORE_FILES:
        shutil.copyfile(folder / file, place / file)
    write_atomically(place / FACTS, text)
    return state.hexdigest()
