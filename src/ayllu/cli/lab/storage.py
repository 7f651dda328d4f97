"""`ayllu tag`, `note`, `rm`, `gc` and `restore`: labels of results, and room for new ones."""

from __future__ import annotations

from pathlib import Path

from ayllu.cli.lab.shelf import meant, open_store
from ayllu.cli.lab.words import size, table
from ayllu.cli.options import Flag, Home, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.shelf import labels, storage
from ayllu.lab.shelf.index import entries
from ayllu.lab.store import Store, absolute, default_home

BACK = "`ayllu restore` has it back for a day"


def changing_store(home: Path | None) -> Store:
    """The store that a command changes. UserError where it cannot be written to."""
    return Store(absolute(home) if home else default_home())


def tag(name: str, /, *tags: str, remove: tuple[str, ...] = (), home: Home = None, json: Json = False) -> None:
    """Give a result tags, by which it is found and for which `gc` keeps it; without any, tell those that it has.

    Parameters
    ----------
    name
        A name, the beginning of a key, or a folder.
    tags
        Words such as baseline or paper:table-2.
    remove
        Tags to take away.
    """
    store = changing_store(home) if tags or remove else open_store(home)
    row = meant(store, name)
    has = labels.tag(store, _key(row.key, row.name), add=tags, remove=remove) if tags or remove else row.tags
    if json:
        print_json({"name": row.name, "key": row.key, "tags": has})
        return
    print_lines([f"{row.name}: {', '.join(has) or 'no tags'}"])


def note(name: str, text: str, /, *, home: Home = None, json: Json = False) -> None:
    """Write something down beside a result: it stands in `ayllu show` and in the page.

    Parameters
    ----------
    name
        A name, the beginning of a key, a tag or a folder.
    text
        What is to be remembered.
    """
    store = changing_store(home)
    row = meant(store, name)
    notes = labels.note(store, _key(row.key, row.name), text)
    if json:
        print_json({"name": row.name, "key": row.key, "notes": notes})
        return
    print_lines([f"{row.name}: {len(notes)} note{'s' * (len(notes) != 1)}"])


def _key(key: str | None, name: str) -> str:
    if key is None:
        raise UserError(f"{name} has no key to remember it by")
    return key


def rm(*names: str, channel: Flag = False, home: Home = None, json: Json = False) -> None:
    """Remove results or records of runs that no channel, release or running job needs; a day lets you restore them.

    Parameters
    ----------
    names
        Names, beginnings of keys, tags or folders.
    channel
        Remove channels of these names instead; what they point to stays until `ayllu gc`.
    """
    if not names:
        raise UserError("nothing is named; give the names that `ayllu list` shows")
    store = changing_store(home)
    if channel:
        items = [storage.channel(store, name) for name in names]
    else:
        rows = entries(store)
        items = [item for name in names for item in storage.one(store, meant(store, name, rows), rows)]
    done = storage.remove(store, list(dict.fromkeys(items)))
    storage.empty(store, seconds=storage.KEPT_SECONDS)
    if json:
        print_json({**done, "removed": [item.as_json() for item in items]})
        return
    print_lines([f"removed {', '.join(item.name for item in items)} ({size(done['bytes'])}); {BACK}"])


def gc(*, yes: Flag = False, days: float = 7.0, now: Flag = False, home: Home = None, json: Json = False) -> None:
    """Say what no channel, release, running job or tag needs; with --yes remove it, for a day still to be had back.

    Parameters
    ----------
    yes
        Do it.
    days
        Work that failed or was killed is kept for this long, for its next start goes on from there.
    now
        Free the room at once, also of what was removed before: it cannot be had back.
    """
    if not days >= 0:
        raise UserError(f"days is {days:g}; give 0 or more")
    if now and not yes:
        raise UserError("--now frees for good and needs --yes; without both, what would go is only listed")
    store = changing_store(home) if yes else Store(absolute(home) if home else default_home(), writes=False)
    items = storage.removable(store, days=days)
    total = sum(item.bytes for item in items)
    waiting = sum(move["bytes"] for row in storage.removals(store) for move in row["items"])
    number, freed = None, 0
    if now:
        freed = storage.empty(store) + storage.discard(store, items)
    elif yes:
        number = storage.remove(store, items)["number"] if items else None
        freed = storage.empty(store, seconds=storage.KEPT_SECONDS)
    if json:
        report = {"bytes": total, "items": [item.as_json() for item in items], "removed": yes, "number": number}
        print_json({**report, "freed": freed, "in_trash": waiting})
        return
    if items:
        print_lines(table(("what", "size", "why"), [(item.name, size(item.bytes), item.why) for item in items], fit=0))
    if not yes:
        print_lines([f"{len(items)} things, {size(total)}; remove them with `ayllu gc --yes`"])
        return
    after = f"freed {size(freed)}" if now else f"{BACK}, then the room is free; `ayllu gc --yes --now` frees it at once"
    print_lines([f"removed {len(items)} things, {size(total)}; {after}"])


def restore(number: str | None = None, /, *, home: Home = None, json: Json = False) -> None:
    """Put back what `ayllu rm` or `ayllu gc` removed last, within a day.

    Parameters
    ----------
    number
        Which removal; the last one when not given.
    """
    back = storage.restore(changing_store(home), number)
    if json:
        print_json({"restored": back})
        return
    print_lines([f"put back: {', '.join(back) or 'nothing, for all of it has been made again'}"])
