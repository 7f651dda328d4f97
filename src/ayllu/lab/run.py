"""Runs what handles describe: each stage once for each key, from where a killed run stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ayllu.lab.code.reached import Code, reached
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, labels, order
from ayllu.lab.key import key_of
from ayllu.lab.progress import clock, say
from ayllu.lab.shelf.forecasts import forecast, settle
from ayllu.lab.shelf.jobs import Job, now, state_of, told, using
from ayllu.lab.store import Artifact, Store, storage_told, write_atomically
from ayllu.lab.team.lease import Lease, held
from ayllu.lab.team.shared import Team
from ayllu.lab.team.turn import hand_in, take_turn

HELPER_SECONDS = 0.2
"""How often a process that helps looks whether the first one has finished."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run keeps things: execution only, never part of a key."""

    store: Store
    cache: Path
    layout: Any = None
    """How distributed stages spread their work (a `Layout` of `ayllu.train.distributed`); None: on this device."""
    command: str | None = None
    """What was asked for, as a command line: for cards."""
    title: str | None = None
    """What the record of the run is called; the last stage's name when not given."""
    rank: int = 0
    """Which process of a job this is: the first makes the artifacts, the others help it with distributed stages."""
    team: Team | None = None
    """A store that is shared with other machines: nothing is made that one of them has made or is making."""
    within: Job | None = None
    """The run that this one is a part of, such as a sweep: it needs what its parts have made until it ends."""


class _Damaged(Exception):
    """An artifact that was found before is not whole any more, and was set aside."""


def resolve(handle: Handle[Any], place: Place) -> dict[Handle[Any], Artifact]:
    """The artifacts of `handle` and of everything that it needs, made or found; `handle`'s is the last.

    What is kept is used as it was written or not at all: what is damaged is made again, and so is what follows from it
    where it comes out otherwise.
    """
    if place.team is not None and place.layout is not None:
        raise UserError("a job of several processes works in its own home; leave the team out, and `ayllu push` later")
    nodes = order(handle)
    names = labels(nodes)
    # Before anything runs: what is in memory by then is what does the work, whatever happens to the files meanwhile.
    codes = {node: code_of(node) for node in nodes} if place.rank == 0 else {}
    if place.rank != 0:
        return _resolve_all(nodes, names, codes, place, None)
    with (
        storage_told(place.store.home, names[handle]),
        Job(place.store, title=place.title or names[handle], command=place.command) as job,
    ):
        done = _resolve_all(nodes, names, codes, place, job)
        if job.made:
            settle(place.store)
        if place.within is not None:
            place.within.keep(job)
        return done


@contextlib.contextmanager
def run_of_many(place: Place, title: str) -> Iterator[Place]:
    """The place for the parts of one run, such as the trials of a sweep: a row of its own on the shelf.

    Nothing removes what a part has made while the others are made, nor for a while after the whole was killed.
    """
    with (
        storage_told(place.store.home, title),
        Job(place.store, title=title, command=place.command) as job,
    ):
        yield dataclasses.replace(place, within=job)


def _resolve_all(
    nodes: Sequence[Handle[Any]],
    names: Mapping[Handle[Any], str],
    codes: Mapping[Handle[Any], Code],
    place: Place,
    job: Job | None,
) -> dict[Handle[Any], Artifact]:
    damaged: set[str] = set()
    while True:
        done: dict[Handle[Any], Artifact] = {}
        try:
            for node in nodes:
                inputs = {name: done[source] for name, source in node.inputs.items()}
                done[node] = _resolve_one(node, inputs, codes.get(node), place, names[node], job)
            return done
        except _Damaged as found:
            if str(found) in damaged:
                raise UserError(
                    f"{found} was damaged again after it had been made again; check the disk of {place.store.home}"
                ) from None
            damaged.add(str(found))


def key_for(node: Handle[Any], inputs: Mapping[str, Artifact]) -> str:
    """The key of `node` once its inputs are there."""
    stage = node.stage
    digests = {name: artifact.manifest["digest"] for name, artifact in inputs.items()}
    return key_of(stage.identity, stage.rev, stage.in_key(node.arguments), stage.in_key(digests))


def code_of(node: Handle[Any]) -> Code:
    """The code that the stage of `node` reaches: its own, what opens its inputs, and what its arguments bring."""
    openers = [source.stage.makes for source in node.inputs.values()]
    values = [type(value) for value in _dataclasses(list(node.arguments.values()))]
    return reached(node.stage.work, *openers, *values, *node.stage.reaches(node.arguments))


def _dataclasses(value: Any) -> Iterator[Any]:
    """The dataclasses among arguments: their methods may be called."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        yield from _dataclasses([getattr(value, item.name) for item in dataclasses.fields(value)])
    elif isinstance(value, Mapping):
        yield from _dataclasses(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _dataclasses(item)


def changed_code(code: Code, manifest: Mapping[str, Any]) -> list[str] | None:
    """What of `code` differs from what made an artifact, or from what its author accepted since, whichever is nearer.

    None where no code was recorded.
    """
    entries = [manifest.get("code"), *(entry["code"] for entry in manifest.get("accepted", ()))]
    differences = [code.changed(Code.read(entry)) for entry in entries if entry]
    return min(differences, key=len) if differences else None


def _resolve_one(
    node: Handle[Any], inputs: dict[str, Artifact], code: Code | None, place: Place, label: str, job: Job | None
) -> Artifact:
    stage = node.stage
    key = key_for(node, inputs)
    if code is None or job is None:
        return _help(node, key, inputs, place)
    with storage_told(place.store.home, label):
        if found := _take(node, key, code, place, label, job):
            return found
        with place.store.work(stage.identity, key) as folder:
            # Another process may have finished it while this one waited.
            if found := _take(node, key, code, place, label, job):
                return found
            lease: Lease | None = None
            if place.team is not None:
                lease = take_turn(place.team, place.store, stage.identity, key, folder / "brought", label)
                if lease is None and (found := _take(node, key, code, place, label, job)):
                    shutil.rmtree(folder, ignore_errors=True)
                    return found
            with held(lease) if lease else contextlib.nullcontext():
                _check_inputs(node, inputs, place)
                job.begin(stage.identity, key, label)
                path = _make(node, key, inputs, code, folder, place, label)
                if place.team is not None and lease is not None:
                    path = hand_in(place.team, place.store, lease, path, folder / "brought", label)
            job.take(stage.identity, key, label, made=True)
            shutil.rmtree(folder, ignore_errors=True)
    return Artifact(path)


def _take(node: Handle[Any], key: str, code: Code, place: Place, label: str, job: Job) -> Artifact | None:
    """`_reuse`, and word of it to those who remove what nobody needs, before they can."""
    with using(place.store):
        found = _reuse(node, key, code, place, label)
        if found is not None:
            job.take(node.stage.identity, key, label, made=False)
        return found


def _check_inputs(node: Handle[Any], inputs: Mapping[str, Artifact], place: Place) -> None:
    """Raise _Damaged where an input is not as it was written: hours may have passed since it was found or made."""
    for name, artifact in inputs.items():
        identity = node.inputs[name].stage.identity
        manifest = artifact.manifest
        if place.store.find(identity, manifest["key"], full=node.stage.publishes) is None:
            _leave_job(identity, place)
            raise _Damaged(artifact.folder.name)


def _leave_job(label: str, place: Place) -> None:
    """Raise UserError in a job: its other processes have seen what is set aside now, and would not help to make it."""
    if place.layout is not None:
        raise UserError(f"{label}: what was kept was damaged and is set aside; start the job again to make it anew")


def _help(node: Handle[Any], key: str, inputs: dict[str, Artifact], place: Place) -> Artifact:
    """Take part in a distributed stage, then wait for what the first process makes of it."""
    path = place.store.path(node.stage.identity, key)
    if node.stage.distributed and not path.exists():
        scratch = place.store.partial / path.name / "scratch"
        with tempfile.TemporaryDirectory() as unused:
            context = Context(folder=Path(unused), scratch=scratch, cache=place.cache, layout=place.layout, main=False)
            node.stage.run(context, _made(node, inputs), node.arguments)
    while not path.exists():
        time.sleep(HELPER_SECONDS)
    return Artifact(path)


def _made(node: Handle[Any], inputs: Mapping[str, Artifact]) -> dict[str, Handle[Any]]:
    return {name: node.inputs[name].made(artifact) for name, artifact in inputs.items()}


def _reuse(node: Handle[Any], key: str, code: Code, place: Place, label: str) -> Artifact | None:
    """What is kept for `key`, with a line on stderr; None where it must be made."""
    stage = node.stage
    path = place.store.path(stage.identity, key)
    there = path.exists()
    manifest = place.store.find(stage.identity, key, label=label)
    if manifest is None:
        if there:
            _leave_job(label, place)
        return None
    changed = changed_code(code, manifest)
    # Alone only: the other processes of a job would go on with what is there.
    if changed and stage.reruns and place.layout is None:
        say(f"{label}: made again, for its code has changed: {listed(changed)}")
        return None
    drift = ""
    if changed:
        drift = f", made by other code: {listed(changed)} changed since; see `ayllu why`, settle it with `ayllu accept`"
    elif changed is None:
        drift = ", made before code was recorded; settle it with `ayllu accept`"
    say(f"{label}: there already{drift}")
    return Artifact(path)


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many there are besides."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _make(
    node: Handle[Any], key: str, inputs: dict[str, Artifact], code: Code, folder: Path, place: Place, label: str
) -> Path:
    stage, artifact, scratch = node.stage, folder / "artifact", folder / "scratch"
    shutil.rmtree(artifact, ignore_errors=True)
    scratch.mkdir(exist_ok=True)
    artifact.mkdir()
    logs = place.store.logs(stage.identity, key)
    context = Context(
        folder=artifact,
        scratch=scratch,
        cache=place.cache,
        logs=logs,
        layout=place.layout,
        command=place.command,
        forecast=lambda what, value, low, high: _keep_forecast(
            place.store, what, value, low, high, stage=stage.identity, key=key
        ),
    )
    context.note("attempts", context.record.get("attempts", 0) + 1)
    began, started = time.monotonic(), datetime.now(UTC)
    with _begun(folder / "begun.json", node, key, inputs, place, label):
        stage.run(context, _made(node, inputs), node.arguments)
    seconds = time.monotonic() - began
    manifest = {
        "stage": stage.identity,
        "rev": stage.rev,
        "key": key,
        "arguments": {name: plain(value) for name, value in stage.in_key(node.arguments).items()},
        "inputs": {
            name: {field: source.manifest[field] for field in ("stage", "key", "digest")}
            for name, source in stage.in_key(inputs).items()
        },
        "code": code.as_json(),
        "record": context.record,
        "predictions": context.predictions,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "machine": machine(),
    }
    path = place.store.finish(artifact, manifest)
    say(f"{label}: done in {clock(seconds)}")
    return path


def _keep_forecast(
    store: Store, what: str, value: float, low: float | None, high: float | None, *, stage: str, key: str
) -> None:
    """Write down what a stage expects of what it makes."""
    forecast(store, by=stage, what=what, value=value, low=low, high=high, about={"stage": stage, "key": key})


@contextlib.contextmanager
def _begun(
    path: Path, node: Handle[Any], key: str, inputs: Mapping[str, Artifact], place: Place, label: str
) -> Iterator[None]:
    """Keep beside unfinished work what it is, and how it ended where it fails."""
    stage = node.stage
    facts: dict[str, Any] = {
        "stage": stage.identity,
        "key": key,
        "label": label,
        "arguments": {name: plain(value) for name, value in stage.in_key(node.arguments).items()},
        "inputs": {
            name: [source.manifest["stage"], source.manifest["key"]] for name, source in stage.in_key(inputs).items()
        },
        "command": place.command,
        "started": now(),
    }
    write_atomically(path, json.dumps(facts))
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):
            write_atomically(path, json.dumps(facts | {"state": state_of(error), "error": told(error)}))
        raise


def plain(value: Any) -> Any:
    """An argument as a manifest keeps it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def machine() -> dict[str, Any]:
    """What this machine is, for the record."""
    versions = {}
    for package in ("ayllu", "torch", "tokenizers", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return {
        "system": platform.system(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
