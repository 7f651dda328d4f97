"""What people say of results: tags to find them by, and notes. They lie beside the store and change no result."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_text, shown
from ayllu.lab.shelf.jobs import now
from ayllu.lab.store import Store, storage_told, write_atomically

TAG = re.compile(r"[\w][\w.:/+-]{0,59}")
LONGEST_NOTE = 10_000


def read_labels(store: Store) -> dict[str, dict[str, Any]]:
    """Tags and notes by key. UserError where the file is damaged: it cannot be made again."""
    path = _path(store)
    try:
        value = json.loads(regular_text(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); mend it or move it away to go on without labels") from error
    if not isinstance(value, dict) or not all(map(_whole, value.values())):
        raise UserError(f"{path} does not hold labels; mend it or move it away to go on without them")
    return value


def _whole(label: Any) -> bool:
    return (
        isinstance(label, dict)
        and isinstance(label.get("tags"), list)
        and all(isinstance(tag, str) for tag in label["tags"])
        and isinstance(label.get("notes"), list)
        and all(isinstance(note, dict) and isinstance(note.get("text"), str) for note in label["notes"])
    )


def tag(store: Store, key: str, *, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> list[str]:
    """Give a result tags and take some away; all that it has then. UserError for what is no tag."""
    for word in add:
        if not TAG.fullmatch(word):
            raise UserError(f"{shown(word)} is no tag; use letters, digits and . _ : / + - (60 at most)")
    with _changing(store) as labels:
        label = labels.setdefault(key, {"tags": [], "notes": []})
        missing = [word for word in remove if word not in label["tags"]]
        if missing:
            raise UserError(f"it has no tag {shown(missing[0])} (it has: {', '.join(label['tags']) or 'none'})")
        kept = [word for word in label["tags"] if word not in remove]
        label["tags"] = [*kept, *(word for word in dict.fromkeys(add) if word not in kept)]
        return list(label["tags"])


def note(store: Store, key: str, text: str) -> list[dict[str, str]]:
    """Add a note to a result; all that it has then, oldest first."""
    if not text.strip():
        raise UserError("the note is empty; write what is to be remembered")
    if len(text) > LONGEST_NOTE:
        raise UserError(f"the note has {len(text):,} letters; {LONGEST_NOTE:,} are the most")
    with _changing(store) as labels:
        label = labels.setdefault(key, {"tags": [], "notes": []})
        label["notes"].append({"at": now(), "text": text.strip()})
        return list(label["notes"])


@contextlib.contextmanager
def _changing(store: Store) -> Iterator[dict[str, dict[str, Any]]]:
    """The labels to be changed, by one process at a time, and written when that went well."""
    path = _path(store)
    with storage_told(store.home, "the labels"), path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        labels = read_labels(store)
        yield labels
        kept = {key: label for key, label in labels.items() if label["tags"] or label["notes"]}
        write_atomically(path, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def _path(store: Store) -> Path:
    return store.home / "labels.json"
