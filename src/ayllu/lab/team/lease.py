"""Who makes a thing: one holder at a time among machines whose clocks may be off and whose programs may be killed.

No time of day is compared. A holder counts up, every few seconds; who waits looks for as long as a lease lasts, by its
own stopwatch, and takes over what has not counted meanwhile. Each turn of a lease is an object of its own that only one
can create (`leases/THING/000001.json`), so that two who see a dead holder at once do not both follow it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ayllu.lab.team.objects import Objects
from ayllu.lab.visible import visible

BEAT_SECONDS, LEASE_SECONDS = 5.0, 60.0
"""How often a holder counts, and how long it may be silent. One whose machine sleeps longer has lost its lease: where
another's result is there by then, its own is not published."""
LEAST_LOOKS = 4
"""Times that a count must have been read unchanged: one that cannot be read is not a silent one."""


TURN = re.compile(r"([0-9]{6,})\.(json|beat|done)")
"""Other files in the folder are somebody's, and mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often things are looked at, in seconds."""

    beat: float = BEAT_SECONDS
    lease: float = LEASE_SECONDS


class Lease:
    """A turn at one thing, which counts until it is given back."""

    made = False
    """Whether the thing is there for all to take, so that nobody needs another turn."""

    def __init__(self, objects: Objects, folder: str, turn: int, pace: Pace) -> None:
        self._objects, self._folder, self._turn, self._pace = objects, folder, turn, pace
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count, name=f"lease {folder}", daemon=True)
        self._thread.start()

    def _count(self) -> None:
        count = 0
        while not self._ended.wait(self._pace.beat):
            count += 1
            # A place that cannot be reached for a while costs the lease, not the work.
            with contextlib.suppress(OSError):
                self._objects.write(f"{self._folder}/{self._turn:06}.beat", str(count).encode())

    def give_back(self) -> None:
        """Let another take the next turn at once, or remove all turns where the thing is made."""
        self._ended.set()
        self._thread.join(timeout=self._pace.beat)  # a count that a server keeps waiting counts for nothing
        with contextlib.suppress(OSError):
            self._objects.write(f"{self._folder}/{self._turn:06}.done", b"")
            for name in self._objects.names(self._folder) if self.made else ():
                self._objects.remove(f"{self._folder}/{name}")


@dataclass(kw_only=True)
class _Seen:
    """What was last read of a holder, since when, and how often."""

    what: tuple[int, bytes]
    since: float
    looks: int = 1


class Waiting:
    """One who wants a turn at `thing`."""

    def __init__(self, objects: Objects, thing: str, *, pace: Pace) -> None:
        self._objects, self._folder, self._pace = objects, f"leases/{thing}", pace
        self._seen: _Seen | None = None

    def look(self) -> Lease | str:
        """The lease, where nobody holds it now; or else the machine that does. Raises OSError as `Objects`."""
        names = self._objects.names(self._folder)
        # One who lost its lease may still count or give it back where all turns were removed: the next is a later one.
        turn = max((int(found[1]) for found in map(TURN.fullmatch, names) if found), default=0)
        if turn and f"{turn:06}.done" not in names and not self._silent(turn):
            return self._holder(turn)
        mine = {"machine": platform.node(), "process": os.getpid(), "token": secrets.token_hex(8)}
        if self._objects.create(f"{self._folder}/{turn + 1:06}.json", json.dumps(mine).encode()):
            return Lease(self._objects, self._folder, turn + 1, self._pace)
        return self._holder(turn + 1)

    def _silent(self, turn: int) -> bool:
        """Whether the holder of a turn has not counted for as long as a lease lasts."""
        try:
            count = self._objects.read(f"{self._folder}/{turn:06}.beat")
        except FileNotFoundError:
            count = b""
        now = time.monotonic()
        if self._seen is None or self._seen.what != (turn, count):
            self._seen = _Seen(what=(turn, count), since=now)
            return False
        self._seen.looks += 1
        return now - self._seen.since > self._pace.lease and self._seen.looks >= LEAST_LOOKS

    def _holder(self, turn: int) -> str:
        try:
            told = json.loads(self._objects.read(f"{self._folder}/{turn:06}.json"))
            return visible(str(told["machine"]), longest=80)
        except (OSError, ValueError, KeyError, TypeError):
            return "another machine"


@contextlib.contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Give a lease back when the work is done, or has failed."""
    try:
        yield
    finally:
        lease.give_back()
