"""Why a stage would run or not: what has changed since its result was made, and the word that it does not matter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ayllu.lab.graph import Handle
from ayllu.lab.key import canonical
from ayllu.lab.progress import clock
from ayllu.lab.run import Place, changed_code, code_of, key_for, listed, order, plain
from ayllu.lab.store import MANIFEST, Artifact, Store, write_atomically


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Whether one stage would run, and why."""

    stage: str
    state: str
    """`runs`, `kept`, `kept, code changed`, or `kept, code unknown` for a result from before code was recorded."""
    why: str
    changed: tuple[str, ...] = field(default=())
    """What differs: functions and libraries of a kept result, arguments and inputs of one that would run."""

    def as_json(self) -> dict[str, Any]:
        return {"stage": self.stage, "state": self.state, "why": self.why, "changed": list(self.changed)}


def explain(handle: Handle[Any], place: Place) -> list[Reason]:
    """For each stage of `handle`, whether it would run and why: what differs from the nearest kept result."""
    return [_reason(node, done, place) for node, done in _walk(handle, place)]


def accept(handle: Handle[Any], place: Place) -> list[str]:
    """Take the code of today for what made the kept results of `handle`: their author says that nothing that matters
    has changed. The stages for which that was said."""
    accepted = []
    for node, done in _walk(handle, place):
        found = done.get(node)
        if found is None:
            continue
        code = code_of(node)
        changed = changed_code(code, found.manifest)
        if changed is None or changed:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            entry = {"at": now, "code": code.as_json(), "changed": ["unknown"] if changed is None else changed}
            manifest = found.manifest
            manifest["accepted"] = [*manifest.get("accepted", ()), entry]
            write_atomically(found.folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
            accepted.append(node.stage.identity)
    return accepted


def _walk(handle: Handle[Any], place: Place) -> Iterator[tuple[Handle[Any], dict[Handle[Any], Artifact]]]:
    """Each stage with the artifacts that are there, its own among them."""
    done: dict[Handle[Any], Artifact] = {}
    for node in order(handle):
        inputs = {name: done[source] for name, source in node.inputs.items() if source in done}
        if len(inputs) == len(node.inputs):
            key = key_for(node, inputs)
            if place.store.find(node.stage.identity, key) is not None:
                done[node] = Artifact(place.store.path(node.stage.identity, key))
        yield node, done


def _reason(node: Handle[Any], done: Mapping[Handle[Any], Artifact], place: Place) -> Reason:
    name = node.stage.identity
    waiting = [source.stage.identity for source in node.inputs.values() if source not in done]
    if waiting:
        return Reason(stage=name, state="runs", why=f"{', '.join(waiting)} must be made first")
    if node not in done:
        changes = _differences(node, done, place.store)
        told = "; ".join(f"{what} is {_short(now)}, was {_short(was)}" for what, (now, was) in changes.items())
        kept = place.store.manifests(name)
        why = told or ("the kept result is damaged" if kept else "never made here")
        return Reason(stage=name, state="runs", why=why, changed=tuple(changes))
    manifest = done[node].manifest
    made, cost = f"made {manifest['finished']}", f"making it again takes {clock(manifest['seconds'])}"
    changed = changed_code(code_of(node), manifest)
    if changed is None:
        why = f"{made}, before code was recorded; {cost}; `ayllu accept` takes today's code for it"
        return Reason(stage=name, state="kept, code unknown", why=why)
    if not changed:
        return Reason(stage=name, state="kept", why=made)
    settled = "it is made again" if node.stage.reruns else "`ayllu accept` keeps it, a higher `rev` makes it again"
    why = f"{made}; its code has changed since: {listed(changed, 8)}; {cost}; {settled}"
    return Reason(stage=name, state="kept, code changed", why=why, changed=tuple(changed))


def _differences(
    node: Handle[Any], done: Mapping[Handle[Any], Artifact], store: Store
) -> dict[str, tuple[str | None, str | None]]:
    """What differs from the nearest kept result, by name: as it is, and as it was. Nothing where none is kept."""
    stage = node.stage
    mine: dict[str, str] = {
        f"argument {name}": canonical(plain(value)).decode() for name, value in stage.in_key(node.arguments).items()
    }
    mine |= {f"input {name}": done[source].manifest["digest"] for name, source in stage.in_key(node.inputs).items()}
    mine["rev"] = str(stage.rev)

    def parts(manifest: Mapping[str, Any]) -> dict[str, str]:
        theirs = {f"argument {name}": canonical(v).decode() for name, v in manifest["arguments"].items()}
        theirs |= {f"input {name}": facts["digest"] for name, facts in manifest["inputs"].items()}
        return theirs | {"rev": str(manifest["rev"])}

    def differing(theirs: Mapping[str, str]) -> list[str]:
        return [name for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)]

    kept = [parts(manifest) for manifest in reversed(store.manifests(stage.identity))]
    if not kept:
        return {}
    nearest = min(kept, key=lambda theirs: len(differing(theirs)))
    return {name: (mine.get(name), nearest.get(name)) for name in differing(nearest)}


def _short(value: str | None) -> str:
    return "absent" if value is None else value if len(value) <= 24 else value[:12] + "…"
