"""One holder at a time, whatever clocks say and whoever is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ayllu.lab.team import lease as module
from ayllu.lab.team.lease import Lease, Pace, Waiting
from ayllu.lab.team.objects import Objects, open_objects

QUICK = Pace(beat=0.02, lease=0.4)
HOLDER = """
import sys, time
from ayllu.lab.team.lease import Lease, Pace, Waiting
from ayllu.lab.team.objects import open_objects
lease = Waiting(open_objects(sys.argv[1]), "thing", pace=Pace(beat=0.05)).look()
print(isinstance(lease, Lease), flush=True)
time.sleep(60)
"""


def until_held(waiting: Waiting) -> Lease:
    while not isinstance(found := waiting.look(), Lease):
        time.sleep(QUICK.beat)
    return found


def test_a_second_one_waits_until_the_first_gives_it_back(url: str) -> None:
    place = open_objects(url)
    lease = until_held(Waiting(place, "thing", pace=QUICK))
    second = Waiting(place, "thing", pace=QUICK)
    began = time.monotonic()
    while time.monotonic() - began < 3 * QUICK.lease:
        assert isinstance(second.look(), str), "a holder that counts keeps it, for however long"
        time.sleep(QUICK.beat)
    lease.give_back()
    until_held(second).give_back()
    other = until_held(Waiting(place, "other", pace=QUICK))
    other.give_back()


def test_a_killed_holder_is_followed_by_one_of_those_who_wait(url: str) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "True\n"
    place = open_objects(url)
    waiting = [Waiting(place, "thing", pace=QUICK) for _ in range(6)]
    assert all(isinstance(one.look(), str) for one in waiting)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    held: list[Lease] = []
    while not held:
        time.sleep(QUICK.lease)
        with ThreadPoolExecutor(len(waiting)) as threads:
            held = [found for found in threads.map(Waiting.look, waiting) if isinstance(found, Lease)]
    assert len(held) == 1
    held[0].give_back()


def test_no_time_of_day_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a clock that is off neither keeps a dead holder nor ends a living one."""
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=time.monotonic))
    place = open_objects(str(tmp_path))
    lease = until_held(Waiting(place, "thing", pace=QUICK))
    assert isinstance(Waiting(place, "thing", pace=QUICK).look(), str)
    lease.give_back()


class Deaf:
    """A store whose counts cannot be read for a while."""

    def __init__(self, place: Objects) -> None:
        self._place, self.deaf = place, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def read(self, name: str) -> bytes:
        if self.deaf:
            raise TimeoutError("the network is down")
        return self._place.read(name)


def test_who_cannot_see_a_holder_does_not_take_it_for_dead(url: str) -> None:
    place = Deaf(open_objects(url))
    lease = until_held(Waiting(place, "thing", pace=QUICK))
    waiting = Waiting(place, "thing", pace=QUICK)
    waiting.look()
    place.deaf = True
    for _ in range(4):
        time.sleep(QUICK.lease)
        with pytest.raises(TimeoutError):
            waiting.look()
    place.deaf = False
    assert isinstance(waiting.look(), str)
    lease.give_back()


def test_files_of_others_among_the_turns_mean_nothing(url: str) -> None:
    place = open_objects(url)
    for name in ("000007 (copy).json", "README.json", "desktop.ini"):
        place.write(f"leases/thing/{name}", b"?")
    until_held(Waiting(place, "thing", pace=QUICK)).give_back()


def test_who_gives_back_a_turn_that_was_removed_ends_no_later_one(url: str) -> None:
    """As one whose machine slept while another made the thing, and whose work then failed."""
    place = open_objects(url)
    place.write("leases/thing/000003.done", b"")
    lease = until_held(Waiting(place, "thing", pace=QUICK))
    assert isinstance(Waiting(place, "thing", pace=QUICK).look(), str), "two would hold it at once"
    lease.give_back()


def test_a_holder_whose_store_is_gone_for_a_while_goes_on_counting(url: str) -> None:
    place = Deaf(open_objects(url))
    writes = place._place.write
    failing = [True] * 3

    def write(name: str, data: bytes) -> None:
        if failing:
            failing.pop()
            raise OSError("gone")
        writes(name, data)

    place._place.write = write  # type: ignore[method-assign]
    lease = until_held(Waiting(place, "thing", pace=QUICK))
    while failing or not any(name.endswith(".beat") for name in place.names("leases/thing")):
        time.sleep(QUICK.beat)
    lease.made = True
    lease.give_back()
    assert place.names("leases/thing") == []
