"""Names that products read: a channel points to one artifact and remembers what it pointed to before."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.store import Store, read_manifest, write_atomically


def check_name(name: str) -> None:
    """Raise UserError when `name` cannot name a channel."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9@._-]*", name):
        raise UserError(f"{name!r} cannot name a channel; use small letters, digits and - . _ @")


def promote(store: Store, name: str, folder: Path) -> None:
    """Let channel `name` point to the artifact in `folder`. Whoever calls it has seen the gates pass."""
    check_name(name)
    path = store.home / "channels" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    history: list[dict[str, Any]] = json.loads(path.read_text())["history"] if path.exists() else []
    manifest = read_manifest(folder)
    if history and history[-1]["key"] == manifest["key"]:
        return
    entry = {"key": manifest["key"], "folder": str(folder), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    write_atomically(path, json.dumps({"name": name, "history": [*history, entry]}, indent=2) + "\n")


def follow(store: Store, name: str) -> Path:
    """The folder that channel `name` points to; UserError when there is no such channel or its folder is gone."""
    path = store.home / "channels" / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none yet"
        raise UserError(
            f"there is no model {name!r} in {store.home} (known: {known}); make one with `ayllu run cria` or "
            "`ayllu adopt`"
        )
    folder = Path(json.loads(path.read_text())["history"][-1]["folder"])
    if not folder.is_dir():
        raise UserError(f"channel {name!r} points to {folder}, which is gone; run its recipe again")
    return folder


def find_model(name: str, home: Path) -> Path:
    """The folder of a model, named by its path or by the channel that a recipe made for it; UserError when neither."""
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.is_dir() or "/" in name:
        raise UserError(f"{name} is not a model: it has no config.json; give a release folder or the name of a model")
    folder = follow(Store(home), name)
    return folder / "release" if (folder / "release").is_dir() else folder
