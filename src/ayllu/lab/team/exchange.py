"""Whole lineages between a home and a team's store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ayllu.lab.channel import NAME, promote
from ayllu.lab.error import UserError
from ayllu.lab.integrity import shown
from ayllu.lab.progress import bar, say
from ayllu.lab.shelf.find import LEAST_DIGITS
from ayllu.lab.store import MANIFEST, Store, read_manifest, thing_of
from ayllu.lab.team.shared import OtherResult, Team


def behind(store: Store, folders: Sequence[Path], *, alone: bool) -> list[Path]:
    """These artifacts, and before each what it was made from as far as it is kept; each once."""
    found: dict[Path, None] = {}

    def visit(folder: Path) -> None:
        if folder in found:
            return
        for source in read_manifest(folder).get("inputs", {}).values():
            place = store.path(source["stage"], source["key"])
            if not alone and (place / MANIFEST).is_file():
                visit(place)
        found[folder] = None

    for folder in folders:
        visit(folder)
    return list(found)


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


def pull(team: Team, store: Store, names: Sequence[str], *, alone: bool) -> list[dict[str, Any]]:
    """Bring what the names mean, and let them mean it here: `artifact` and `new` of each."""
    wanted = {name: _meant(team, name) for name in names}
    manifests = _lineage(team, list(wanted.values()), alone=alone)
    total = sum(map(_bytes, manifests.values())) / 1e6
    found = []
    with bar("pull", total=total, unit="MB") as progress:
        for thing, manifest in manifests.items():
            found.append({"artifact": thing, "new": _bring(team, store, manifest, progress)})
    for name, thing in wanted.items():
        meant = team.meaning(name) if NAME.fullmatch(name) else None
        if meant is not None:
            promote(store, name, store.artifacts / thing)
            say(f"{name} means {thing} now")
    return found


def _bring(team: Team, store: Store, manifest: Mapping[str, Any], progress: Any) -> bool:
    """Whether it was not here, or was another's result or damaged here."""
    stage, key = manifest["stage"], manifest["key"]
    with store.work(stage, key) as folder:
        here = store.find(stage, key)
        new = here is None or here["digest"] != manifest["digest"]
        if new:
            team.pull(store, manifest, folder / "brought", progress)
        else:
            progress.advance(_bytes(manifest) / 1e6)
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


def _lineage(team: Team, things: Sequence[str], *, alone: bool) -> dict[str, dict[str, Any]]:
    """Manifests of these, and before each of what it was made from as far as the team has it."""
    found: dict[str, dict[str, Any]] = {}

    def visit(thing: str, *, needed: bool) -> None:
        if thing in found:
            return
        manifest = team.manifest(thing)
        if manifest is None:
            if needed:
                raise UserError(f"{team.objects.url} has a name for {thing} and nothing of it; push it again")
            return
        for source in manifest.get("inputs", {}).values() if not alone else ():
            visit(thing_of(source), needed=False)
        found[thing] = manifest

    for thing in things:
        visit(thing, needed=True)
    return found


def _bytes(manifest: Mapping[str, Any]) -> int:
    return sum(entry["bytes"] for entry in manifest["files"].values())
