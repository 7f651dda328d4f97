"""Why a stage would run or not: what has changed since its result was made, and the word that it does not matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ayllu.lab.graph import Handle, labels, order
from ayllu.lab.key import canonical
from ayllu.lab.progress import clock
from ayllu.lab.run import Place, changed_code, code_of, key_for, listed, plain
from ayllu.lab.store import Artifact, Store, storage_told, write_manifest


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Whether one stage would run, and why."""

    stage: str
    state: str
    """`runs`, `kept`, `kept, code changed`, or `kept, code unknown` for a result from before code was recorded."""
    why: str
    changed: tuple[str, ...] = field(default=())
    """What differs: functions and libraries of a kept result, arguments and inputs of one that would run."""
    label: str = ""
    """The stage, with what tells it from the recipe's other uses of it."""
    seconds: float | None = None
    """How long it took: of a kept result itself, or of the nearest one that is kept; None where there is none."""

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "label": self.label or self.stage,
            "state": self.state,
            "why": self.why,
            "changed": list(self.changed),
            "seconds": self.seconds,
        }


def explain(handle: Handle[Any], place: Place) -> list[Reason]:
    """For each stage of `handle`, whether it would run and why: what differs from the nearest kept result.

    Nothing is changed, so that a home that can only be read will do.
    """
    names = labels(order(handle))
    return [_reason(node, done, damage, names, place) for node, done, damage in _walk(handle, place)]


def outline(name: str, rows: Sequence[Reason]) -> list[str]:
    """What a run has before it, a line a stage, in the words of `explain`: said before the first one begins."""
    waiting = [row for row in rows if row.state == "runs"]
    if not waiting:
        return [f"{name}: all {len(rows)} stages are there already"]
    lines = [f"{name}: {len(rows)} stages, {len(rows) - len(waiting)} there already, {len(waiting)} to make"]
    width = max(len(row.label) for row in rows)
    for row in rows:
        known = "" if row.seconds is None else f", {clock(row.seconds)} the last time"
        lines.append(f"  {row.label:{width}}  {f'to make{known}' if row in waiting else 'there already'}")
    timed = [row.seconds for row in waiting if row.seconds is not None]
    if timed:
        unknown = f"; of {len(waiting) - len(timed)} more no time is known" if len(timed) < len(waiting) else ""
        lines.append(f"the like of {len(timed)} of them took {clock(sum(timed))}, with the options they had{unknown}")
    else:
        lines.append("none of their like is kept here, so no time is known before a few steps have been timed")
    return lines


def trace(store: Store, stage: str, key: str) -> list[Reason]:
    """The same for a result of which no recipe is known: what is kept of it and of all that it was made from."""
    found: dict[tuple[str, str], Reason] = {}

    def visit(stage: str, key: str) -> None:
        if (stage, key) in found:
            return
        manifest, wrong = store.look(stage, key)
        inputs = manifest["inputs"] if manifest is not None else {}
        for source in inputs.values() if isinstance(inputs, dict) else ():
            visit(str(source["stage"]), str(source["key"]))
        label = f"{stage}-{key[:8]}"
        if manifest is None:
            why = f"the kept result is damaged ({wrong})" if wrong else "it is no longer here"
            found[stage, key] = Reason(stage=stage, label=label, state="runs", why=f"{why}; run its recipe again")
        else:
            told = f"made {manifest['finished']}"
            found[stage, key] = Reason(stage=stage, label=label, state="kept", why=told, seconds=manifest["seconds"])

    visit(stage, key)
    return list(found.values())


def accept(handle: Handle[Any], place: Place) -> list[str]:
    """Take the code of today for what made the kept results of `handle`: their author says that nothing that matters
    has changed. The stages for which that was said."""
    accepted = []
    names = labels(order(handle))
    for node, done, _ in _walk(handle, place):
        found = done.get(node)
        if found is None:
            continue
        code = code_of(node)
        manifest = found.manifest
        changed = changed_code(code, manifest)
        if changed is None or changed:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            entry = {"at": now, "code": code.as_json(), "changed": ["unknown"] if changed is None else changed}
            manifest["accepted"] = [*manifest.get("accepted", ()), entry]
            with storage_told(place.store.home, names[node]):
                write_manifest(found.folder, manifest)
            accepted.append(names[node])
    return accepted


def _walk(handle: Handle[Any], place: Place) -> Iterator[tuple[Handle[Any], dict[Handle[Any], Artifact], str]]:
    """Each stage with the artifacts that are there and whole, its own among them, and what is wrong with its own."""
    done: dict[Handle[Any], Artifact] = {}
    for node in order(handle):
        inputs = {name: done[source] for name, source in node.inputs.items() if source in done}
        wrong = ""
        if len(inputs) == len(node.inputs):
            key = key_for(node, inputs)
            manifest, wrong = place.store.look(node.stage.identity, key)
            if manifest is not None:
                done[node] = Artifact(place.store.path(node.stage.identity, key))
        yield node, done, wrong


def _reason(
    node: Handle[Any],
    done: Mapping[Handle[Any], Artifact],
    damage: str,
    names: Mapping[Handle[Any], str],
    place: Place,
) -> Reason:
    def reason(state: str, why: str, changed: Sequence[str] = (), seconds: float | None = None) -> Reason:
        label, stage = names[node], node.stage.identity
        return Reason(stage=stage, label=label, state=state, why=why, changed=tuple(changed), seconds=seconds)

    waiting = dict.fromkeys(names[source] for source in node.inputs.values() if source not in done)
    if waiting:
        _, seconds = _nearest(node, {}, place.store)
        return reason("runs", f"{', '.join(waiting)} must be made first", seconds=seconds)
    if node not in done:
        changes, seconds = _nearest(node, done, place.store)
        told = "; ".join(f"{what} is {_short(now)}, was {_short(was)}" for what, (now, was) in changes.items())
        if damage:
            return reason("runs", f"the kept result is damaged ({damage})", seconds=seconds)
        return reason("runs", told or "never made here", tuple(changes), seconds)
    manifest = done[node].manifest
    seconds = manifest["seconds"]
    made, cost = f"made {manifest['finished']}", f"making it again takes {clock(seconds)}"
    changed = changed_code(code_of(node), manifest)
    if changed is None:
        why = f"{made}, before code was recorded; {cost}; `ayllu accept` takes today's code for it"
        return reason("kept, code unknown", why, seconds=seconds)
    if not changed:
        return reason("kept", made, seconds=seconds)
    settled = "it is made again" if node.stage.reruns else "`ayllu accept` keeps it, a higher `rev` makes it again"
    why = f"{made}; its code has changed since: {listed(changed, 8)}; {cost}; {settled}"
    return reason("kept, code changed", why, changed, seconds)


def _nearest(
    node: Handle[Any], done: Mapping[Handle[Any], Artifact], store: Store
) -> tuple[dict[str, tuple[str | None, str | None]], float | None]:
    """What differs from the nearest kept result, by name (as it is, and as it was), and how long that one took.

    Nothing where none is kept; inputs that are not in `done` are not compared.
    """
    stage = node.stage
    mine: dict[str, str] = {
        f"argument {name}": canonical(plain(value)).decode() for name, value in stage.in_key(node.arguments).items()
    }
    known = {name: source for name, source in stage.in_key(node.inputs).items() if source in done}
    whole = len(known) == len(node.inputs)
    mine |= {f"input {name}": done[source].manifest["digest"] for name, source in known.items()}
    mine["rev"] = str(stage.rev)

    def parts(manifest: Mapping[str, Any]) -> dict[str, str]:
        arguments, inputs = manifest.get("arguments", {}), manifest.get("inputs", {})
        theirs = {f"argument {name}": canonical(v).decode() for name, v in arguments.items()}
        theirs |= {f"input {name}": facts["digest"] for name, facts in inputs.items() if name in known or whole}
        return theirs | {"rev": str(manifest.get("rev"))}

    def differing(theirs: Mapping[str, str]) -> list[str]:
        return [name for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)]

    kept = [(parts(manifest), manifest["seconds"]) for manifest in reversed(store.manifests(stage.identity))]
    if not kept:
        return {}, None
    nearest, seconds = min(kept, key=lambda entry: len(differing(entry[0])))
    return {name: (mine.get(name), nearest.get(name)) for name in differing(nearest)}, seconds


def _short(value: str | None) -> str:
    return "absent" if value is None else value if len(value) <= 24 else value[:12] + "…"
