"""Names that products read: a channel points to one artifact and remembers what it pointed to before."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.integrity import damages, listed_files, regular_text, shown, unlisted
from ayllu.lab.progress import say
from ayllu.lab.store import (
    MANIFEST,
    Store,
    digests_of,
    read_manifest,
    storage_told,
    strays,
    write_atomically,
)

LONGEST_NAME = 100
"""Letters of a name: with endings of ours it fits into a file name everywhere."""
WEIGHTS = (".safetensors", ".gguf")
"""Files that an engine would take for the model's."""
SETTINGS = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "chat_template.jinja", "chat_template.json"),
)
"""Files without which, or with which, the same weights answer in another way."""
LARGEST_MANIFEST = 64 << 20
"""Bytes of a manifest that is read of a folder which may be anybody's."""


NAME = re.compile(r"[a-z0-9][a-z0-9@._-]*")


class NoSuchName(UserError):
    """There is no channel of that name."""


def check_name(name: str) -> None:
    """Raise UserError when `name` cannot name a channel."""
    if not NAME.fullmatch(name):
        raise UserError(f"{name[:LONGEST_NAME]!r} cannot name a channel; use small letters, digits and - . _ @")
    if len(name) > LONGEST_NAME:
        raise UserError(f"a name of {len(name)} letters cannot name a channel; use at most {LONGEST_NAME}")


def movers_path(store: Store) -> Path:
    """Where it stands who may move which channel."""
    return store.home / "movers.json"


def movers_of(store: Store, name: str) -> set[str] | None:
    """Fingerprints of the keys that may move channel `name`; None where the home does not say who may."""
    movers = _movers(store)
    return (
        None
        if movers is None
        else {by for pattern, keys in movers.items() if fnmatchcase(name, pattern) for by in keys}
    )


def _movers(store: Store) -> dict[str, list[str]] | None:
    """Keys by patterns of channels. UserError where they cannot be read: nobody may move any then."""
    path = movers_path(store)
    try:
        movers = json.loads(regular_text(path))
        if not all(isinstance(keys, list) for keys in movers.values()):
            raise TypeError('keys stand in a list: {"assistant@*": ["FINGERPRINT"]}')
        return {pattern: [str(by) for by in keys] for pattern, keys in movers.items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}): no channel is moved until it says who may") from None


def refuse_guarded(store: Store, name: str) -> None:
    """UserError where the home names keys that may move channel `name`: what asks for no key does not move it."""
    if any(fnmatchcase(name, pattern) for pattern in _movers(store) or ()):
        raise UserError(
            f"{movers_path(store)} names who may move {name}, which `ayllu promote` and `ayllu rollback` ask for; give "
            "what is made or brought another name, and promote that"
        )


def promote(
    store: Store, name: str, folder: Path, *, made_by: Mapping[str, Any] | None = None, back: bool = False
) -> None:
    """Let channel `name` point to the artifact in `folder`. Whoever calls it has seen the gates pass.

    `made_by` says what made it (`recipe` and its `options`, as JSON), so that `ayllu why` can ask the same again;
    `back` that the channel returns to what it pointed to before.
    """
    check_name(name)
    manifest = read_manifest(folder)
    stage, key = manifest["stage"], manifest["key"]
    if store.path(stage, key).resolve() != folder.resolve():
        raise UserError(f"{folder} is not in {store.home}; a channel points to what its own store holds")
    path = _path(store, name)
    with storage_told(store.home, f"the name {name}"), _held(path.parent):
        history = _history_to_continue(path)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        entry: dict[str, Any] = {"stage": stage, "key": key, "since": since}
        if made_by is not None:
            entry["made_by"] = dict(made_by)
        if back:
            entry["back"] = True
        if history and history[-1]["key"] == key:
            last = history.pop()
            entry |= {name: last[name] for name in ("since", "back") if name in last}
            if last == entry:
                return
        write_atomically(path, json.dumps({"name": name, "history": [*history, entry]}, indent=2) + "\n")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """One process at a time changes what names mean: none overwrites what another has just added."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def returns(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The entries of a channel's history without those that it was taken back from: what it points to is the last."""
    found: list[Mapping[str, Any]] = []
    for entry in history:
        while entry.get("back") and found and found[-1]["key"] != entry["key"]:
            found.pop()
        found = [*found[: -1 if entry.get("back") else None], entry]
    return found


def is_there(store: Store, name: str) -> bool:
    """Whether something is kept for that name, whole or damaged."""
    return os.path.lexists(_path(store, name))


def current(store: Store, name: str) -> dict[str, Any]:
    """`stage`, `key` and more of what channel `name` points to; UserError when there is no such channel."""
    path = _path(store, name)
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME or not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none yet"
        raise NoSuchName(
            f"there is no model {shown(name)} in {store.home} (known: {known}); make one with `ayllu run cria` or "
            "`ayllu adopt`"
        )
    try:
        entry = _history(path)[-1]
        return {**entry, "stage": _stage(entry)}
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete it, and run its recipe or adopt it again") from error


def follow(store: Store, name: str) -> Path:
    """The folder that channel `name` points to, whole; UserError when there is no such channel, and when what it
    points to is gone or damaged."""
    entry = current(store, name)
    stage, key = entry["stage"], entry["key"]
    manifest, wrong = store.look(stage, key)
    folder = store.path(stage, key)
    again = "run its recipe or adopt it again: that makes anew what is not whole"
    if manifest is None:
        raise UserError(f"the model {name!r} is {f'damaged: {wrong}' if wrong else f'gone from {folder}'}; {again}")
    if added := strays(folder, manifest):
        raise UserError(f"{folder} holds {added[0]!r}, which was not made with the model {name!r}; move it elsewhere")
    return folder


def find_model(name: str, home: Path) -> Path:
    """The folder of a model, named by its path or by the channel that a recipe made for it.

    Raises UserError when there is none, and when its files are not what the manifest over them lists.
    """
    path = Path(name)
    try:
        path = path.expanduser()
        there, folder = (path / "config.json").is_file(), path.is_dir()
    except (OSError, ValueError, RuntimeError):  # too long for a file's name, or the home of a user that is not there
        there = folder = False
    if there:
        check_listed(path)
        return path
    if folder or "/" in name:
        raise UserError(
            f"{shown(name)} is not a model: it has no config.json; give a release folder or the name of a model"
        )
    made = _made(Store(home, writes=False), name)
    return made / "release" if (made / "release").is_dir() else made


def _made(store: Store, name: str) -> Path:
    """The folder that a channel points to, or the model or release that the beginning of a key or a tag means."""
    try:
        return follow(store, name)
    except NoSuchName as error:
        from ayllu.lab.shelf.find import NothingCalled, find  # the shelf reads channels

        try:
            row = find(store, name)
        except NothingCalled:
            raise error from None
        if row.kind not in ("model", "release") or row.state != "finished":
            raise UserError(f"{row.name} is {row.kind}, {row.state}, and no model; `ayllu list` shows those") from None
        manifest, wrong = store.look(row.stage, str(row.key))
        if manifest is None:
            raise UserError(f"the model {row.name} is damaged: {wrong}; make it again") from None
        return Path(row.folder)


def check_listed(folder: Path) -> None:
    """Raise UserError where files of `folder` are not what the manifest in it, or over it in a store, says they are.

    A folder that no manifest describes is taken as it is. What a release lists need not all be there, but its settings
    must, and nothing may be there that could be taken for its weights or settings.
    """
    folder = folder.absolute()
    for root in (folder.parent, folder):
        below = "" if root == folder else f"{folder.name}/"
        files = _listed(root)
        mine = {name: entry for name, entry in (files or {}).items() if name.startswith(below)}
        if not mine:
            continue
        present = {
            name: entry
            for name, entry in mine.items()
            if name.removeprefix(below) in SETTINGS or (root / name).exists()
        }
        wrong = damages(digests_of(root), present)
        names = (f"{below}{name}" for name in unlisted(folder, ()) if "/" not in name)
        wrong += [
            f"{name!r} was added"
            for name in names
            if (name.endswith(WEIGHTS) or name.removeprefix(below) in SETTINGS) and name not in mine
        ]
        if wrong:
            raise UserError(
                f"{folder} is damaged: {'; '.join(wrong[:3])}; get it again, run what made it again, or, where you "
                f"changed it yourself, remove its {MANIFEST}"
            )
        return


def _listed(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Size and digest of the files that the manifest in `folder` lists; None where there is no manifest of ours."""
    path = folder / MANIFEST
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_MANIFEST:
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return listed_files(value.get("files")) if isinstance(value, dict) else None


def _path(store: Store, name: str) -> Path:
    return store.home / "channels" / f"{name}.json"


def _history(path: Path) -> list[dict[str, Any]]:
    """What a channel points to, the last one now. Raises ValueError where its file is damaged."""
    try:
        value = json.loads(regular_text(path))
    except (OSError, RecursionError) as error:
        raise ValueError(getattr(error, "strerror", None) or str(error)) from error
    history = value.get("history") if isinstance(value, dict) else None
    if not isinstance(history, list) or not history:
        raise ValueError("it has no history")
    for entry in history:
        whole = isinstance(entry, dict) and isinstance(entry.get("key"), str)
        if not whole or not re.fullmatch(r"[0-9a-f]{64}", entry["key"]) or not _stage(entry):
            raise ValueError("an entry of its history names no result")
    return history


def _stage(entry: Mapping[str, Any]) -> str:
    """The stage of an entry; channels from before it was written hold the folder, whose name begins with it."""
    stage = entry.get("stage")
    if stage is None and isinstance(entry.get("folder"), str):
        stage = Path(entry["folder"]).name.removesuffix(f"-{entry['key'][:16]}")
    return stage if isinstance(stage, str) and re.fullmatch(r"\w[\w.@+-]*", stage) else ""


def _history_to_continue(path: Path) -> list[dict[str, Any]]:
    """The history of a channel that gets another entry; a damaged one is set aside."""
    if not path.exists():
        return []
    try:
        return _history(path)
    except ValueError as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        say(f"{path} was damaged ({error}) and is now {aside}; it begins anew")
        return []
