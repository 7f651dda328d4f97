"""A stage among machines that share a store: taken from it where one of them has made it, made by one at a time."""

from __future__ import annotations

import time
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.lab.integrity import LARGE
from ayllu.lab.progress import bar, say
from ayllu.lab.store import Store, thing_of
from ayllu.lab.team.lease import Lease, Waiting
from ayllu.lab.team.shared import OtherResult, Team


def brought(team: Team, store: Store, stage: str, key: str, room: Path, label: str) -> bool:
    """Whether the team has it: then it is in the store now. Raises UserError where what it has is damaged."""
    manifest = team.manifest(thing_of({"stage": stage, "key": key}))
    if manifest is None or manifest["key"] != key:
        return False
    total = sum(entry["bytes"] for entry in manifest["files"].values()) / 1e6
    with bar(f"{label} from the team", total=total, unit="MB", shown=total * 1e6 > LARGE) as progress:
        team.pull(store, manifest, room, progress)
    say(f"{label}: brought from {team.objects.url}")
    return True


def take_turn(team: Team, store: Store, stage: str, key: str, room: Path, label: str) -> Lease | None:
    """The lease on making it; None where the team has it, or got it meanwhile, and it is in the store now."""
    thing, told = thing_of({"stage": stage, "key": key}), ""
    waiting = Waiting(team.objects, thing, pace=team.pace)
    while not brought(team, store, stage, key, room, label):
        with team.told():
            found = waiting.look()
        if isinstance(found, Lease):
            # Whoever held it before may have handed it in between the two looks.
            try:
                found.made = brought(team, store, stage, key, room, label)
            except BaseException:
                found.give_back()
                raise
            if not found.made:
                return found
            found.give_back()
            break
        if found != told:
            told = found
            say(f"{label}: {found} is at it; waiting for it")
        time.sleep(team.pace.beat)
    return None


def hand_in(team: Team, store: Store, lease: Lease, folder: Path, room: Path, label: str) -> Path:
    """Give the team what was made with a lease; gives the folder of what counts.

    That is the team's where another machine was taken for the holder and was faster. A store that cannot be reached
    costs no work: what was made stays here.
    """
    try:
        try:
            team.push(folder)
        except OtherResult:
            manifest = team.manifest(folder.name)
            if manifest is not None:
                folder = team.pull(store, manifest, room)
            say(f"{label}: another machine has finished it meanwhile; its result is the team's and is used")
    except UserError as error:
        say(f"{label}: made, but not handed in: {error}; `ayllu push` does that later")
        return folder
    lease.made = True
    return folder
