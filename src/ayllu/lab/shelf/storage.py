"""What can go and what must stay: removing results, with a day to change one's mind."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ayllu.lab.channel import refuse_guarded, returns
from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_text, shown
from ayllu.lab.shelf.forecasts import keep_settled, settle
from ayllu.lab.shelf.index import ASIDE, DAMAGED, FINISHED, RUNNING, Entry, channels_of, damaged_channels, entries
from ayllu.lab.shelf.jobs import FAILED, INTERRUPTED, live_jobs, now, stages_of, using
from ayllu.lab.store import FULL, Store, erase, storage_told, write_atomically

KEPT_SECONDS = 24 * 3600
"""How long what was removed can be had back."""
BACK = 2
"""Entries of a channel's history whose results stay: the one it points to, and the one to go back to."""


@dataclass(frozen=True, kw_only=True)
class Removable:
    """One folder or file that can go, and why."""

    path: Path
    bytes: int
    name: str
    why: str

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "bytes": self.bytes, "why": self.why, "folder": str(self.path)}


def needed(store: Store, rows: Sequence[Entry], *, days: float = 0.0) -> dict[str, str]:
    """Why each result that is needed is: by its key. What it was made from is needed with it.

    So is what work that failed or was killed within so many `days` goes on from.
    """
    inputs = {row.key: [key for _, key in row.inputs.values()] for row in rows if row.key and row.inputs}
    found: dict[str, str] = {}

    def need(key: str, why: str) -> None:
        waiting = [key]
        while waiting:
            if (one := waiting.pop()) not in found:
                found[one] = why
                waiting += inputs.get(one, [])

    for name, history in channels_of(store).items():
        for entry in (*history[-BACK:], *returns(history)[-BACK:]):
            need(entry["key"], f"the channel {name}")
    for job in live_jobs(store):
        for _, key in stages_of(job):
            need(key, f"the running {job['title']} (process {job['pid']})")
    for row in rows:
        if row.state == RUNNING and row.key and row.kind != "run":
            need(row.key, f"{row.name}, which is being made")
        elif row.tags and row.key:
            need(row.key, f"the tag {row.tags[0]} of {row.name}")
    releases = [row for row in rows if row.kind == "release" and row.key]
    # Of another release first: its own is the one reason that naming it takes away.
    for row in releases:
        for key in inputs.get(str(row.key), ()):
            need(key, f"the release {row.name}")
    for row in releases:
        need(str(row.key), f"the release {row.name}")
    for row in _left(rows, days):
        runs = stages_of(row.facts) if row.kind == "run" else list(row.inputs.values())
        for _, key in runs:
            need(key, f"{row.name}, which {row.state} and can go on")
    return found


def _left(rows: Sequence[Entry], days: float) -> list[Entry]:
    """Work that failed or was killed within so many days, and was not done since by the same command."""
    done: dict[tuple[str, str | None], str] = {}
    for row in rows:
        if row.kind == "run" and row.state == FINISHED:
            what = (row.name, row.command)
            done[what] = max(row.created, done.get(what, ""))
    return [
        row
        for row in rows
        if row.state in (FAILED, INTERRUPTED)
        and _age_days(row.created) < days
        and done.get((row.name, row.command), "") <= row.created
    ]


def removable(store: Store, *, days: float, rows: Sequence[Entry] | None = None) -> list[Removable]:
    """What nothing needs: results, what was set aside, logs of what is gone, and work that was left `days` ago.

    UserError where a channel is damaged.
    """
    _refuse_unknown(store)
    rows = entries(store) if rows is None else rows
    kept = needed(store, rows, days=days)
    found = []
    for row in rows:
        if row.kind in ("run", "recipe") or row.key in kept or row.state == RUNNING:
            continue
        if row.state == DAMAGED and _beginning_of(row.key, kept):  # whoever needs it makes it again
            continue
        if row.state in (FINISHED, DAMAGED):
            why = "damaged" if row.state == DAMAGED else "no channel, release, running job or tag needs it"
        elif _age_days(row.created) >= days:
            why = f"{row.state} more than {days:g} days ago"
        else:
            continue
        path = Path(row.folder)
        size = row.bytes or sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
        found.append(Removable(path=path, bytes=size, name=row.name, why=why))
    return found + _leftovers(store, rows)


def _refuse_unknown(store: Store) -> None:
    """Nothing is removed while nobody knows what a channel needs."""
    if damaged := damaged_channels(store):
        name = damaged[0].stem
        raise UserError(
            f"{damaged[0]} is damaged, so that it does not say what it needs, and no result is removed; put a copy of "
            f"it back, make or promote its model again, or give it up with `ayllu rm --channel {name}`"
        )


def _beginning_of(short: str | None, kept: Mapping[str, str]) -> str | None:
    """The needed key that begins so: where a record is damaged, no more of its key is known."""
    return next((key for key in kept if short and key.startswith(short)), None)


def _leftovers(store: Store, rows: Iterable[Entry]) -> list[Removable]:
    """What was set aside, and logs and checks of what is not there any more."""
    places = {Path(row.folder).name for row in rows if row.folder}
    found = []
    for path in _children(store.artifacts):
        if path.name.endswith(ASIDE):
            found.append(Removable(path=path, bytes=_size(path), name=path.name, why="it was set aside"))
    for path in _children(store.home / "logs"):
        if path.name not in places:
            found.append(Removable(path=path, bytes=_size(path), name=f"logs/{path.name}", why="its result is gone"))
    for path in _children(store.home / "checked"):
        if path.suffix == ".json" and path.stem not in places and not path.stem.startswith("folder-"):
            found.append(Removable(path=path, bytes=_size(path), name=f"checked/{path.name}", why="its result is gone"))
    return found


def remove(store: Store, items: Sequence[Removable]) -> dict[str, Any]:
    """Put `items` into the store's trash, from where `restore` has them back for a day: its number and bytes.

    UserError where one of them is needed by now: nothing is removed then.
    """
    settle(store)  # what came of forecasts must not go with what they are about
    number = secrets.token_hex(4)
    trash = _trash(store) / number
    with storage_told(store.home, "the trash"), using(store, alone=True):
        _refuse_busy(store, items)
        moves: list[dict[str, Any]] = [
            {
                "from": item.path.relative_to(store.home).as_posix(),
                "to": f"{n}-{item.path.name}",
                "name": item.name,
                "bytes": item.bytes,
            }
            for n, item in enumerate(items)
        ]
        # Written first: after a kill in between, what was moved is found again.
        with _room_told(store, trash):
            trash.mkdir(parents=True)
            write_atomically(trash / "record.json", json.dumps({"at": now(), "items": moves}, indent=1))
        for move in moves:
            with contextlib.suppress(FileNotFoundError):
                (store.home / move["from"]).rename(trash / move["to"])
    return {"number": number, "bytes": sum(item.bytes for item in items), "items": len(items)}


def discard(store: Store, items: Sequence[Removable]) -> int:
    """Remove `items` for good: the bytes. It writes nothing before room is free, so that a full disk is no obstacle.

    UserError where one of them is needed by now: nothing is removed then.
    """
    came = settle(store)
    with storage_told(store.home, "what was to be removed"), using(store, alone=True):
        _refuse_busy(store, items)
        for item in items:
            gone = item.path
            if gone.parent in (store.artifacts, store.partial) and not gone.name.endswith(ASIDE):
                gone = gone.with_name(f"{gone.name}{ASIDE[-1]}")  # so that nobody finds half of it
                erase(gone)
                with contextlib.suppress(FileNotFoundError):
                    item.path.rename(gone)
            erase(gone)
    keep_settled(store, came)  # where the disk was full before
    return sum(item.bytes for item in items)


def _refuse_busy(store: Store, items: Sequence[Removable]) -> None:
    kept = needed(store, entries(store))
    busy = [item for item in items if _key_in(item, store, kept)]
    if busy:
        raise UserError(f"{busy[0].name} is needed by now; ask again what can go")


@contextlib.contextmanager
def _room_told(store: Store, trash: Path) -> Iterator[None]:
    """Say of a full disk what still works on it, and leave no empty folder behind."""
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError):
            trash.rmdir()
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{store.home} is full, so that nothing can be kept there for a day; `ayllu gc --yes --now` frees for good "
            "what nothing needs"
        ) from error


def _key_in(item: Removable, store: Store, kept: Mapping[str, str]) -> bool:
    """Whether something that is needed lies in the folder of `item`."""
    if item.path.parent not in (store.artifacts, store.partial) or item.path.name.endswith(ASIDE):
        return False
    short = item.path.name.rpartition("-")[2]
    return any(key.startswith(short) for key, why in kept.items() if why != f"the release {item.name}")


def restore(store: Store, number: str | None = None) -> list[str]:
    """Put back what was removed last, or by that number: the names. UserError where nothing is there to put back."""
    empty(store, seconds=KEPT_SECONDS)
    trashes = removals(store)
    chosen = [row for row in trashes if number in (None, row["number"])][-1:]
    if not chosen:
        known = ", ".join(row["number"] for row in trashes) or "nothing"
        wanted = f"no removal {shown(number)}" if number else "nothing"
        raise UserError(f"there is {wanted} to take back in {store.home} (of the last day there is: {known})")
    folder, back = _trash(store) / chosen[0]["number"], []
    with storage_told(store.home, "the trash"), using(store, alone=True):
        for move in chosen[0]["items"]:
            source, target = folder / move["to"], store.home / move["from"]
            if source.exists() and not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)
                back.append(move["name"])
        shutil.rmtree(folder, ignore_errors=True)
    return back


def removals(store: Store) -> list[dict[str, Any]]:
    """What can be taken back, oldest first: number, time and items of each removal."""
    found = []
    for path in _trash(store).glob("*/record.json"):
        with contextlib.suppress(OSError, ValueError, RecursionError, TypeError, KeyError):
            value = json.loads(regular_text(path))
            items = [move for move in value["items"] if _inside(move)]
            found.append((path.stat().st_mtime_ns, {"number": path.parent.name, "at": value["at"], "items": items}))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _inside(move: Mapping[str, Any]) -> bool:
    """Whether a move of a record leads from the trash to the store and nowhere else."""
    parts = Path(str(move["from"])).parts
    told = isinstance(move["name"], str) and isinstance(move["bytes"], int)
    within = ".." not in parts and not Path(str(move["from"])).is_absolute()
    return told and within and "/" not in str(move["to"]) and str(move["to"]) not in ("", ".", "..")


def empty(store: Store, *, seconds: float = 0.0) -> int:
    """Remove for good what was removed more than `seconds` ago: the bytes."""
    freed = 0
    for folder in _children(_trash(store)):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime >= seconds:
                freed += _size(folder)
                shutil.rmtree(folder, ignore_errors=True)
    return freed


def one(store: Store, row: Entry, rows: Sequence[Entry]) -> list[Removable]:
    """What goes with one row. UserError where something needs it, and where that cannot be told."""
    name = row.name
    if row.kind == "recipe":
        raise UserError(f"{name} is a recipe, which is code and no result; remove what it has made")
    if row.state == RUNNING:
        raise UserError(f"{name} is running; end it first (process {row.facts.get('pid', 'of the other program')})")
    if row.kind != "run":
        _refuse_unknown(store)
    kept = needed(store, rows)
    key = _beginning_of(row.key, kept) if row.state == DAMAGED else row.key
    why = kept.get(key or "")
    if why and why != f"the release {name}" and row.kind != "run":
        hint = " (a channel is removed with --channel)" if why.startswith("the channel") else ""
        raise UserError(f"{name} cannot go: {why} needs it{hint}")
    path = Path(row.folder)
    log = path.with_suffix(".log") if row.kind == "run" else store.home / "logs" / path.name
    found = [Removable(path=path, bytes=row.bytes or _size(path), name=name, why="asked for")]
    if log.exists():
        found.append(Removable(path=log, bytes=_size(log), name=f"log of {name}", why="asked for"))
    return found


def channel(store: Store, name: str) -> Removable:
    """A channel as what can go: the name alone, not what it points to."""
    path = store.home / "channels" / f"{name}.json"
    if "/" in name or not path.is_file():
        raise UserError(f"there is no channel {shown(name)} in {store.home}; `ayllu list` shows them")
    refuse_guarded(store, name)
    return Removable(path=path, bytes=path.stat().st_size, name=f"channel {name}", why="asked for")


def _trash(store: Store) -> Path:
    return store.home / "trash"


def _children(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        if path.is_file():
            return path.stat().st_size
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file() and not item.is_symlink())
    return 0


def _age_days(created: str) -> float:
    try:
        return (time.time() - datetime.fromisoformat(created).timestamp()) / 86400
    except ValueError:
        return float("inf")
