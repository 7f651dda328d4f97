"""Runs what handles describe: each stage once for each key, from where a killed run stopped."""

from __future__ import annotations

import dataclasses
import errno
import os
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle
from ayllu.lab.key import canonical, key_of
from ayllu.lab.progress import clock, say
from ayllu.lab.store import Artifact, Store

FULL_BYTES = 1 << 20
"""A disk with less room than this is full: whatever fails on it fails because of that."""

HELPER_SECONDS = 0.2
"""How often a process that helps looks whether the first one has finished."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run keeps things: execution only, never part of a key."""

    store: Store
    cache: Path
    layout: Any = None
    """How distributed stages spread their work (a `Layout` of `ayllu.train.distributed`); None: on this device."""
    rank: int = 0
    """Which process of a job this is: the first makes the artifacts, the others help it with distributed stages."""


def resolve(handle: Handle, place: Place) -> dict[Handle, Artifact]:
    """The artifacts of `handle` and of everything that it needs, made or found; `handle`'s is the last."""
    done: dict[Handle, Artifact] = {}
    for node in order(handle):
        done[node] = _resolve_one(node, {name: done[source] for name, source in node.inputs.items()}, place)
    return done


def order(handle: Handle) -> list[Handle]:
    """All handles that `handle` needs and itself, each after its inputs, each once."""
    found: dict[Handle, None] = {}

    def visit(node: Handle) -> None:
        if node not in found:
            for source in node.inputs.values():
                visit(source)
            found[node] = None

    visit(handle)
    return list(found)


def key_for(node: Handle, inputs: dict[str, Artifact]) -> str:
    """The key of `node` once its inputs are there."""
    digests = {name: artifact.manifest["digest"] for name, artifact in inputs.items()}
    return key_of(node.stage.name, node.stage.rev, node.arguments, digests)


def _resolve_one(node: Handle, inputs: dict[str, Artifact], place: Place) -> Artifact:
    stage = node.stage
    key = key_for(node, inputs)
    if place.rank > 0:
        return _help(node, key, inputs, place)
    if found := _reuse(node, key, place.store):
        return found
    try:
        with place.store.work(stage.name, key) as folder:
            if found := _reuse(node, key, place.store):  # another process finished it while this one waited
                return found
            path = _make(node, key, inputs, folder, place)
            shutil.rmtree(folder, ignore_errors=True)
    except UserError:
        raise
    except Exception as error:
        if reason := _storage_problem(error, place.store.home):
            raise UserError(f"{stage.name}: {reason}; make room or choose another folder with --home") from error
        raise
    return Artifact(path)


def _help(node: Handle, key: str, inputs: dict[str, Artifact], place: Place) -> Artifact:
    """Take part in a distributed stage, then wait for what the first process makes of it."""
    path = place.store.path(node.stage.name, key)
    if node.stage.distributed and not path.exists():
        scratch = place.store.partial / path.name / "scratch"
        with tempfile.TemporaryDirectory() as unused:
            context = Context(folder=Path(unused), scratch=scratch, cache=place.cache, layout=place.layout, main=False)
            node.stage.work(context, **_opened(node, inputs), **node.arguments)
    while not path.exists():
        time.sleep(HELPER_SECONDS)
    return Artifact(path)


def _opened(node: Handle, inputs: dict[str, Artifact]) -> dict[str, Any]:
    return {name: node.inputs[name].stage.makes(source.folder) for name, source in inputs.items()}


def _reuse(node: Handle, key: str, store: Store) -> Artifact | None:
    manifest = store.find(node.stage.name, key)
    if manifest is None:
        return None
    drift = "" if manifest["source"] == node.stage.source else " (its code has changed since: see `ayllu why`)"
    say(f"{node.stage.name}: there already{drift}")
    return Artifact(store.path(node.stage.name, key))


def _make(node: Handle, key: str, inputs: dict[str, Artifact], folder: Path, place: Place) -> Path:
    stage, artifact, scratch = node.stage, folder / "artifact", folder / "scratch"
    shutil.rmtree(artifact, ignore_errors=True)
    scratch.mkdir(exist_ok=True)
    artifact.mkdir()
    logs = place.store.logs(stage.name, key)
    context = Context(folder=artifact, scratch=scratch, cache=place.cache, logs=logs, layout=place.layout)
    context.note("attempts", context.record.get("attempts", 0) + 1)
    began, started = time.monotonic(), datetime.now(UTC)
    stage.work(context, **_opened(node, inputs), **node.arguments)
    seconds = time.monotonic() - began
    path = place.store.finish(
        artifact,
        {
            "stage": stage.name,
            "rev": stage.rev,
            "key": key,
            "arguments": {name: _plain(value) for name, value in node.arguments.items()},
            "inputs": {
                name: {
                    "stage": source.manifest["stage"],
                    "key": source.manifest["key"],
                    "digest": source.manifest["digest"],
                }
                for name, source in inputs.items()
            },
            "source": stage.source,
            "record": context.record,
            "predictions": context.predictions,
            "started": started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "machine": machine(),
        },
    )
    say(f"{stage.name}: done in {clock(seconds)}")
    return path


def _storage_problem(error: Exception, folder: Path) -> str | None:
    """What the disk did, where that is the cause: libraries do not always say it with an OSError."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return f"{error.filename or folder}: {os.strerror(error.errno)}"
    if shutil.disk_usage(folder).free < FULL_BYTES:
        return f"{folder}: {os.strerror(errno.ENOSPC)}"
    return None


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


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


def explain(handle: Handle, place: Place) -> list[dict[str, str]]:
    """For each stage of `handle`, whether it would run and why: what differs from the nearest kept result."""
    rows: list[dict[str, str]] = []
    done: dict[Handle, Artifact] = {}
    for node in order(handle):
        name = node.stage.name
        waiting = [source.stage.name for source in node.inputs.values() if source not in done]
        if waiting:
            rows.append({"stage": name, "state": "runs", "why": f"{', '.join(waiting)} must be made first"})
            continue
        key = key_for(node, {param: done[source] for param, source in node.inputs.items()})
        manifest = place.store.find(name, key)
        if manifest is None:
            rows.append({"stage": name, "state": "runs", "why": _difference(node, done, place.store)})
            continue
        done[node] = Artifact(place.store.path(name, key))
        same = manifest["source"] == node.stage.source
        why = f"made {manifest['finished']}" + (
            "" if same else "; its code has changed since (raise `rev` to make it again)"
        )
        rows.append({"stage": name, "state": "kept" if same else "kept, code changed", "why": why})
    return rows


def _difference(node: Handle, done: dict[Handle, Artifact], store: Store) -> str:
    kept = store.manifests(node.stage.name)
    if not kept:
        return "never made here"
    mine: dict[str, Any] = {f"argument {name}": canonical(_plain(v)).decode() for name, v in node.arguments.items()}
    mine |= {f"input {name}": done[source].manifest["digest"] for name, source in node.inputs.items()}
    mine["rev"] = str(node.stage.rev)

    def parts(manifest: dict[str, Any]) -> dict[str, Any]:
        theirs = {f"argument {name}": canonical(v).decode() for name, v in manifest["arguments"].items()}
        theirs |= {f"input {name}": facts["digest"] for name, facts in manifest["inputs"].items()}
        return theirs | {"rev": str(manifest["rev"])}

    def differing(theirs: dict[str, Any]) -> list[str]:
        return [name for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)]

    nearest = min((parts(m) for m in reversed(kept)), key=lambda theirs: len(differing(theirs)))
    changes = [f"{name} is {_short(mine.get(name))}, was {_short(nearest.get(name))}" for name in differing(nearest)]
    return "; ".join(changes) or "the kept result is damaged"


def _short(value: str | None) -> str:
    return "absent" if value is None else value if len(value) <= 24 else value[:12] + "…"
