"""The `ayllu memory` commands."""

from __future__ import annotations

import json as json_module
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cyclopts

from ayllu.api.home import find_home
from ayllu.cli.options import Flag, Home, Json, print_json, print_lines
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.assistant.memory.memory import Erased, Memories, Memory
    from ayllu.serve.state.store import Store

app = cyclopts.App(name="memory", help="See, correct, export and erase what the assistant remembers.")


@app.command(name="list")
def list_memories(*, home: Home = None, json: Json = False) -> None:
    """List what is remembered: from which message, and when it was used."""
    with _open(home) as (memories, _):
        found = memories.all()
    if json:
        print_json({"memories": [memory.as_json() for memory in found]})
    else:
        print_lines([_line(memory) for memory in found] or ["nothing is remembered"])


@app.command
def add(text: str, /, *, home: Home = None, json: Json = False) -> None:
    """Remember something.

    Parameters
    ----------
    text
        What to remember.
    """
    with _open(home) as (memories, _):
        made = memories.add(text)
    if json:
        print_json(made.as_json())
    else:
        print_lines([f"{made.id} is remembered"])


@app.command
def edit(name: str, text: str, /, *, home: Home = None, json: Json = False) -> None:
    """Correct a memory. The old words are erased as `erase` does it.

    Parameters
    ----------
    name
        The memory's id.
    text
        What is right.
    """
    with _open(home) as (memories, store):
        done = memories.edit(name, text, store)
    _report(done, f"{name} is corrected", json)


@app.command
def erase(*name: str, everything: Flag = False, home: Home = None, json: Json = False) -> None:
    """Erase memories: from the memory, from the turns that they came from and were used in, and from all free pages.

    Parameters
    ----------
    name
        The memories' ids.
    everything
        Erase all memories.
    """
    with _open(home) as (memories, store):
        names = [memory.id for memory in memories.all()] if everything else list(dict.fromkeys(name))
        if not names and not everything:
            raise UserError("name the memories to erase, or give --everything; see `ayllu memory list`")
        done = memories.erase(names, store)
    _report(done, f"{done.memories} erased", json)


@app.command
def export(*, out: Path, home: Home = None, json: Json = False) -> None:
    """Write all memories into a JSON file.

    Parameters
    ----------
    out
        The file; it must be new.
    """
    with _open(home) as (memories, _):
        found = memories.all()
    try:
        with out.expanduser().open("x", encoding="utf-8") as file:
            whole = {"memories": [memory.as_json() for memory in found]}
            file.write(json_module.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise UserError(f"{out} exists; give a new file") from None
    if json:
        print_json({"file": str(out), "memories": len(found)})
    else:
        print_lines([f"{len(found)} memories are in {out}"])


@contextmanager
def _open(home: Path | None) -> Generator[tuple[Memories, Store]]:
    from ayllu.assistant.memory.memory import Memories
    from ayllu.serve.state.choose import open_home_store

    place = find_home(home)
    store = open_home_store(place)
    try:
        memories = Memories(place)
        try:
            yield memories, store
        finally:
            memories.close()
    finally:
        store.close()


def _report(done: Erased, line: str, json: bool) -> None:
    value: dict[str, Any] = dict(done.__dict__)
    if json:
        print_json(value)
    else:
        print_lines(
            [
                f"{line}; {done.rows} items of conversations, {done.approvals} approvals and {done.traced} texts of "
                "traces lost its words"
            ]
        )
    if not done.complete:
        raise UserError(
            "the words are erased, but another process reads the database, whose old pages are still on disk; stop "
            "`ayllu serve`, then erase anything again, or nothing with --everything"
        )


def _line(memory: Memory) -> str:
    parts = [f"{memory.id}: {memory.text}", f"since {_day(memory.made)}"]
    parts.append(f"from {memory.message} of {memory.conversation}" if memory.message else "by your own command")
    if memory.untrusted:
        parts.append("text of others was in sight")
    if memory.edited is not None:
        parts.append(f"corrected {_day(memory.edited)}")
    parts.append(f"used {memory.uses} times, last {_day(memory.last_used)}" if memory.last_used else "never used")
    return " · ".join(parts)


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
