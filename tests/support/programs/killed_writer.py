"""Writes through the store in a process that is killed at some moment, again and again; says what was lost.

`python -m support.programs.killed_writer FILE KILLS`. Each writer is forked, so that none has to start Python.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

from ayllu.serve.state.migrations import migrate
from ayllu.serve.state.sqlite import SqliteDatabase
from ayllu.serve.state.store import KeptResponse, Store


def main(path: Path, kills: int) -> None:
    """`kills` writers, one after the other, each killed at some moment after its first answer."""
    draw = random.Random(0)
    migrate(first := SqliteDatabase(path))
    first.close()
    acknowledged: list[str] = []
    for number in range(kills):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _write(path, number, writer)
        os.close(writer)
        select.select([reader], [], [], 30)
        time.sleep(draw.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reader, encoding="ascii") as pipe:
            acknowledged += [line.strip() for line in pipe if line.endswith("\n")]
    told = {"kills": kills, "acknowledged": len(acknowledged), **_found(path, acknowledged)}
    sys.stdout.write(json.dumps(told))


def _write(path: Path, number: int, pipe: int) -> None:
    """Complete one response after the other in a conversation, and name each through `pipe` when it is kept."""
    store = Store(SqliteDatabase(path))
    conversation = f"conv_{number}"
    store.create_conversation(conversation, 1, {}, [])
    for turn in range(100_000):
        kept = KeptResponse(id=f"resp_{number}_{turn}", created=1, status="in_progress", conversation=conversation)
        given = [{"id": f"in_{number}_{turn}", "text": "x" * 3000}]
        answer = [{"id": f"out_{number}_{turn}", "text": "y" * 3000}]
        store.begin(kept, given, server=str(number))
        store.finish(replace(kept, status="completed"), answer, events=b"z" * 5000, said=[*given, *answer])
        os.write(pipe, f"{kept.id}\n".encode())


def _found(path: Path, acknowledged: list[str]) -> dict[str, object]:
    """Which acknowledged responses are not there whole, and which others are there in part."""
    with sqlite3.connect(path) as connection:
        items = dict(connection.execute("SELECT parent, COUNT(*) FROM response_items GROUP BY parent").fetchall())
        said = {row[0] for row in connection.execute("SELECT id FROM conversation_items")}
        done = connection.execute("SELECT id FROM responses WHERE status = 'completed'").fetchall()
        opened = connection.execute("SELECT id FROM responses WHERE status <> 'completed'").fetchall()
        integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    whole = {name for (name,) in done if items.get(name) == 2 and _said(name) <= said}
    torn = [name for (name,) in done if name not in whole]
    torn += [name for (name,) in opened if items.get(name) != 1 or _said(name) & said]
    return {"lost": sorted(set(acknowledged) - whole), "torn": torn, "integrity": integrity}


def _said(name: str) -> set[str]:
    return {name.replace("resp", part) for part in ("in", "out")}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
