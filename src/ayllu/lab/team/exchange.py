"""Whole lineages between a home and a team's store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ayllu.lab.channel import NAME, promote, refuse_guarded
from ayllu.lab.error import UserError
from ayllu.lab.integrity import shown
from ayllu.lab.progress import bar, say
from ayllu.lab.shelf.find import LEAST_DIGITS
from ayllu.lab.shelf.index import inputs_of
from ayllu.lab.shelf.jobs import Job
from ayllu.lab.store import MANIFEST, Store, read_manifest, thing_of
from ayllu.lab.team.shared import OtherResult, Team

Thing = TypeVar("Thing")


def behind(store: Store, folders: Sequence[Path], *, alone: bool) -> list[Path]:
    """These artifacts, and before each what it was made from as far as it is kept; each once."""

    def sources(folder: Path) -> list[Path]:
        places = (store.path(stage, key) for stage, key in inputs_of(read_manifest(folder)).values())
        return [place for place in places if not alone and (place / MANIFEST).is_file()]

    return _lineage(folders, sources)


def _lineage(last: Iterable[Thing], sources: Callable[[Thing], Iterable[Thing]]) -> list[Thing]:
    """These and all that they come from, each once and after its sources; forged ones may come from themselves."""
    found: list[Thing] = []
    seen: set[Thing] = set()
    waiting = [(thing, False) for thing in last]
    while waiting:
        thing, opened = waiting.pop()
        if opened:
            found.append(thing)
        elif thing not in seen:
            seen.add(thing)
            waiting.append((thing, True))
            waiting += ((source, False) for source in sources(thing))
    return found


def push(team: Team, folders: Sequence[Path]) -> dict[Path, bool]:
    """Give them to the team: whether each was new there. UserError where the team has another result under a key."""
    total = sum(_bytes(read_manifest(folder)) for folder in folders) / 1e6
    sent: dict[Path, bool] = {}
    with bar("push", total=total, unit="MB") as progress:
        for folder in folders:
            before = progress.done
            try:
                sent[folder] = team.push(folder, progress)
            except OtherResult:
                raise UserError(
                    f"{team.objects.url} has another result for {folder.name}: it was made twice, and came out "
                    f"otherwise; `ayllu pull {folder.name}` takes the team's"
                ) from None
            progress.advance(before + _bytes(read_manifest(folder)) / 1e6 - progress.done)
    return sent


def pull(
    team: Team, store: Store, names: Sequence[str], *, alone: bool, check: Callable[[Path], None] = lambda folder: None
) -> list[dict[str, Any]]:
    """Bring what the names mean, and let them mean it here: `artifact` and `new` of each.

    `check` looks at an artifact before a name means it, and raises UserError where none may.
    """
    wanted = {name: _meant(team, name) for name in names}
    for name in names:
        if NAME.fullmatch(name) and team.meaning(name) is not None:
            refuse_guarded(store, name)
    manifests = _manifests(team, list(wanted.values()), alone=alone)
    total = sum(map(_bytes, manifests.values())) / 1e6
    found = []
    # A run, so that `gc` leaves what came first until the names mean it.
    with Job(store, title=f"pull {' '.join(names)}", command=None) as job, bar("pull", total=total, unit="MB") as drawn:
        for thing, manifest in manifests.items():
            job.take(manifest["stage"], manifest["key"], thing, made=False)
            found.append({"artifact": thing, "new": _bring(team, store, manifest, drawn)})
        for name, thing in wanted.items():
            meant = team.meaning(name) if NAME.fullmatch(name) else None
            if meant is not None:
                check(store.artifacts / thing)
                promote(store, name, store.artifacts / thing)
                say(f"{name} means {thing} now")
    return found


def _bring(team: Team, store: Store, manifest: Mapping[str, Any], progress: Any) -> bool:
    """Whether it was not here, or was another's result or damaged here."""
    stage, key = manifest["stage"], manifest["key"]
    with store.work(stage, key) as folder:
        here = store.find(stage, key)
        new = here is None or here["digest"] != manifest["digest"]
        try:
            if new:
                team.pull(store, manifest, folder / "brought", progress)
            else:
                progress.advance(_bytes(manifest) / 1e6)
        finally:
            if not any(folder.iterdir()):
                folder.rmdir()
    return new


def _meant(team: Team, name: str) -> str:
    """`STAGE-KEY` that a name, or the beginning of a key or of that, means in the team's store."""
    meant = team.meaning(name) if NAME.fullmatch(name) else None
    if meant is not None:
        return thing_of({"stage": meant[0], "key": meant[1]})
    digits = len(name) >= LEAST_DIGITS and re.fullmatch(r"[0-9a-f]{1,16}", name[:16])
    found = [
        thing
        for thing in team.artifacts()
        if thing.startswith(name) or (digits and thing.rpartition("-")[2].startswith(name[:16]))
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"nothing in {team.objects.url} is called {shown(name)}; `ayllu pull` alone lists what is there"
        )
    raise UserError(f"{shown(name)} means {len(found)} things: {', '.join(found[:5])}; give more of the key")


def _manifests(team: Team, things: Sequence[str], *, alone: bool) -> dict[str, dict[str, Any]]:
    """Manifests of these, and before each of what it was made from as far as the team has it."""
    found = {thing: team.manifest(thing) for thing in things}
    if missing := [thing for thing in things if found[thing] is None]:
        raise UserError(f"{team.objects.url} has a name for {missing[0]} and nothing of it; push it again")

    def sources(thing: str) -> list[str]:
        if thing not in found:
            found[thing] = team.manifest(thing)
        pairs = inputs_of(found[thing] or {}).values() if not alone else ()
        return [thing_of({"stage": stage, "key": key}) for stage, key in pairs]

    lineage = ((thing, found[thing]) for thing in _lineage(things, sources))
    return {thing: manifest for thing, manifest in lineage if manifest is not None}


def _bytes(manifest: Mapping[str, Any]) -> int:
    return sum(entry["bytes"] for entry in manifest["files"].values())
