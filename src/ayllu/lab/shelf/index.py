"""All results and runs of a store as rows, quickly: a file beside it remembers what manifests said.

The file is a cache only. A row is read anew where its manifest has another size, time or inode than when it was
read; where the file is damaged or gone, all of them are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_text
from ayllu.lab.progress import track
from ayllu.lab.shelf.jobs import FINISHED, INTERRUPTED, RUNNING, folder_of, held, read_job
from ayllu.lab.shelf.labels import read_labels
from ayllu.lab.store import MANIFEST, Store, read_manifest, write_atomically

DAMAGED = "damaged"
VERSION = 2
"""Of the rows in the file: another one is not read."""
SLOW = 500
"""Manifests that are read anew with a progress bar, from so many on."""
ASIDE = (".damaged", ".unlisted", ".replaced")
"""Ends of folders that were set aside."""
LARGEST_SCORES = 16 << 20
"""Bytes of a scores.json that is read for a list."""
CURVES = ("loss", "final_loss", "bits_per_byte")
"""What a record says of how good a result is, where no scores were kept beside it."""
SHORT = 8
"""Digits of a key in a name."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One row of the shelf."""

    name: str
    """The channel that points to it, or its stage and the beginning of its key; of a run, what it makes."""
    kind: str
    """`model`, `release`, `scores`, `artifact` (everything else that a stage makes), `run` or `recipe`."""
    key: str | None
    state: str
    """`finished`, `running`, `failed`, `interrupted` (killed or stopped), `damaged`; of a recipe `available`."""
    created: str
    """When it was finished, or else begun (ISO 8601, UTC)."""
    bytes: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    stage: str = ""
    folder: str = ""
    seconds: float | None = None
    inputs: dict[str, list[str]] = field(default_factory=dict)
    """Stage and key of each input."""
    channels: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    error: str | None = None
    command: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """What a table shows besides: parameters, tokens, flops, seed, …; of a run its stages."""

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(item.name for item in dataclasses.fields(Entry))
_NEEDED = ("name", "kind", "key", "state", "created")


def entries(store: Store) -> list[Entry]:
    """Everything that is kept, newest first. Nothing but the index is written, and that only where it can be."""
    with quickly():
        known = _read_index(store)
        fresh: dict[str, Any] = {}
        rows = _cached(store, known, fresh)
        if fresh.keys() != known.keys() or any(fresh[name] is not known[name] for name in fresh):
            _write_index(store, fresh)
        rows += _unfinished(store)
        _name(store, rows)
        _pass_scores_on(rows)
        rows.sort(key=lambda row: row.created, reverse=True)
        return rows


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Ten thousand rows are made and kept: to look for cycles among them takes as long as to make them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _cached(store: Store, known: Mapping[str, Any], fresh: dict[str, Any]) -> list[Entry]:
    """Finished artifacts and ended runs; what was remembered or read of each is put into `fresh`."""
    artifacts, jobs = str(store.artifacts), str(folder_of(store))
    # Strings and no paths: of ten thousand these take as long as all else.
    places: list[tuple[str, str, bool]] = [
        (name, f"{artifacts}/{name}/{MANIFEST}", True) for name in _names(artifacts) if not name.endswith(ASIDE)
    ]
    places += [(f"jobs/{name}", f"{jobs}/{name}", False) for name in _names(jobs) if name.endswith(".json")]
    rows: list[Entry] = []
    unread = []
    for place, path, made in places:
        facts = _facts(path)
        entry = known.get(place)
        if facts is not None and entry is not None and entry[0] == facts:
            fresh[place] = entry
            rows.append(Entry(folder=f"{artifacts}/{place}" if made else path, **entry[1]))
        else:
            unread.append((place, path, made, facts))
    slow = len(unread) >= SLOW
    for place, path, made, facts in track(unread, "index", unit="manifests") if slow else unread:
        found = _artifact(Path(path)) if made else _run(Path(path))
        if found is None:
            continue
        # What still changes, or may be mended by itself, is not remembered.
        if facts is not None and found.state not in (RUNNING, INTERRUPTED, DAMAGED) and facts == _facts(path):
            fresh[place] = [facts, _brief(found)]
        rows.append(found)
    return rows


def _brief(row: Entry) -> dict[str, Any]:
    """A row as the index keeps it: what says something, and no folder, for a home can be moved."""
    kept = {name: value for name, value in row.as_json().items() if name in _NEEDED or value not in (None, [], {}, "")}
    del kept["folder"]
    return kept


def _names(folder: str | Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _facts(path: str) -> list[int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _artifact(path: Path) -> Entry | None:
    """The row of a finished artifact, by its manifest."""
    folder = path.parent
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        if not folder.is_dir():
            return None
        stage, _, key = folder.name.rpartition("-")
        return Entry(
            name=folder.name,
            kind="artifact",
            key=key or None,
            state=DAMAGED,
            created=_changed(folder),
            stage=stage,
            folder=str(folder),
            error=str(error),
        )
    if folder.name != f"{manifest['stage']}-{manifest['key'][:16]}":
        return None
    files: dict[str, Any] = manifest["files"]
    return Entry(
        name=f"{manifest['stage']}-{manifest['key'][:SHORT]}",
        kind=kind_of(files),
        key=manifest["key"],
        state=FINISHED,
        created=manifest["finished"],
        bytes=sum(entry["bytes"] for entry in files.values()) + path.stat().st_size,
        scores=_scores(folder, manifest),
        stage=manifest["stage"],
        folder=str(folder),
        seconds=manifest["seconds"],
        inputs=inputs_of(manifest),
        facts=_table_facts(manifest),
    )


def kind_of(files: Iterable[str]) -> str:
    """What an artifact is, by the files that it holds."""
    names = list(files)
    if any(name.startswith("release/") for name in names):
        return "release"
    if "config.json" in names and any(name.endswith((".safetensors", ".gguf")) for name in names):
        return "model"
    return "scores" if "scores.json" in names else "artifact"


def inputs_of(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Stage and key of each input that a manifest names."""
    inputs = manifest.get("inputs")
    rows = inputs.items() if isinstance(inputs, dict) else ()
    return {name: [str(row["stage"]), str(row["key"])] for name, row in rows if isinstance(row, dict) and "key" in row}


def _table_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The plain figures of a record, and the plain arguments."""
    found: dict[str, Any] = {}
    arguments, predictions = (
        value if isinstance(value := manifest.get(name), dict) else {} for name in ("arguments", "predictions")
    )
    for values in (arguments, manifest["record"]):
        for name, value in values.items():
            if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= 60):
                found[name] = value
            elif isinstance(value, dict) and name.startswith("base_"):
                found |= {f"{name} {part}": item for part, item in value.items() if _number(item)}
    return found | {f"predicted {name}": value for name, value in predictions.items() if _number(value)}


def _scores(folder: Path, manifest: Mapping[str, Any]) -> dict[str, float]:
    """The headline figure of each set and the bits per byte of each source; else what the record says."""
    names = sorted((n for n in manifest["files"] if n.rpartition("/")[2] == "scores.json"), key=len)
    for name in names:
        if manifest["files"][name]["bytes"] <= LARGEST_SCORES:
            with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
                return flat_scores(json.loads(regular_text(folder / name)))
    record: dict[str, Any] = manifest["record"]
    found: dict[str, float] = {}
    for name in CURVES:
        value = record.get(name)
        if isinstance(value, dict):
            found |= {f"{name} {part}": v for part, v in value.items() if _number(v)}
        elif isinstance(value, int | float) and _number(value):
            found[name] = value
    return found


def flat_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """The object of a scores.json as one figure a name: `hellaswag`, `bits_per_byte books`."""
    found: dict[str, Any] = {}
    for name, entry in scores["sets"].items():
        found[name] = entry[entry["headline"]]["value"]
    for source, entry in scores["bits_per_byte"].items():
        found[f"bits_per_byte {source}"] = entry["value"]
    return {name: value for name, value in found.items() if _number(value)}


def headline(scores: Mapping[str, float]) -> tuple[str, float] | None:
    """The one score of a row: an accuracy where there is one, else bits per byte, else a loss."""
    order = ("bits_per_byte", "loss", "final_loss")
    names = sorted(scores, key=lambda name: next((n + 1 for n, start in enumerate(order) if name.startswith(start)), 0))
    return (names[0], scores[names[0]]) if names else None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _run(path: Path) -> Entry | None:
    facts = read_job(path)
    if facts is None:
        if not path.is_file():
            return None
        return Entry(
            name=path.stem,
            kind="run",
            key=path.stem,
            state=DAMAGED,
            created=_changed(path),
            folder=str(path),
            error=f"{path.name} is no record of a run (any more); `ayllu rm {path.stem}` removes it",
        )
    return Entry(
        name=facts["title"],
        kind="run",
        key=facts["id"],
        state=facts["state"],
        created=facts.get("ended") or facts["started"],
        folder=str(path),
        error=facts.get("error"),
        command=facts.get("command"),
        facts={name: facts.get(name) for name in ("started", "ended", "pid", "host", "stages", "now")},
    )


def _unfinished(store: Store) -> list[Entry]:
    """Stages that a process is at, or was when it ended."""
    rows = []
    for name in _names(store.partial):
        folder = store.partial / name
        if name.startswith(".") or not folder.is_dir():
            continue
        try:
            begun = json.loads(regular_text(folder / "begun.json"))
            stage, key, started = str(begun["stage"]), str(begun["key"]), str(begun["started"])
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            stage, _, key = name.rpartition("-")
            begun, started = {}, _changed(folder)
        running = held(store.partial / f"{name}.lock")
        rows.append(
            Entry(
                name=f"{stage}-{key[:SHORT]}",
                kind="artifact",
                key=key,
                state=RUNNING if running else str(begun.get("state") or INTERRUPTED),
                created=started,
                bytes=_size(folder),
                stage=stage,
                folder=str(folder),
                inputs=_pairs(begun.get("inputs")),
                error=_words(begun.get("error")),
                command=_words(begun.get("command")),
            )
        )
    return rows


def _pairs(inputs: Any) -> dict[str, list[str]]:
    """Stage and key of each input, as far as that can be read."""
    pairs = inputs.items() if isinstance(inputs, dict) else ()
    return {name: [str(part) for part in pair] for name, pair in pairs if isinstance(pair, list) and len(pair) == 2}


def _words(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _changed(folder: Path) -> str:
    """When a folder or file was changed last, where no record says when it was made."""
    try:
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except OSError:
        return ""


def _size(folder: Path) -> int:
    """Bytes of all files below a folder that somebody may be writing into."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(f"{root}/{name}").st_size
    return total


def channels_of(store: Store) -> dict[str, list[dict[str, Any]]]:
    """What each channel has pointed to, the last entry now; damaged ones are left out."""
    found = {}
    for path in sorted((store.home / "channels").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
            history = json.loads(regular_text(path))["history"]
            if history and all(isinstance(entry, dict) and isinstance(entry.get("key"), str) for entry in history):
                found[path.stem] = history
    return found


def damaged_channels(store: Store) -> list[Path]:
    """Files of channels that cannot be read: what they point to is not known."""
    known = channels_of(store)
    return [path for path in sorted((store.home / "channels").glob("*.json")) if path.stem not in known]


def _name(store: Store, rows: Iterable[Entry]) -> None:
    """Give rows the channels that point to them and the labels that people gave."""
    pointed: dict[str, list[str]] = {}
    for name, history in channels_of(store).items():
        pointed.setdefault(history[-1]["key"], []).append(name)
    labels = read_labels(store)
    for row in rows:
        if row.key is None:
            continue
        if row.state == FINISHED and row.kind != "run" and (names := pointed.get(row.key)):
            row.channels = names
            row.name = names[0]
        if label := labels.get(row.key):
            row.tags = list(label["tags"])


def _pass_scores_on(rows: Iterable[Entry]) -> None:
    """Give each model the scores that were measured of it: those of what took it in as `model`."""
    models = {row.key: row for row in rows if row.kind == "model"}
    for row in rows:
        if row.kind == "scores" and (model := models.get(row.inputs.get("model", ["", ""])[1])):
            model.scores = {**row.scores, **model.scores}


def _index_path(store: Store) -> Path:
    return store.home / "index.json"


def _read_index(store: Store) -> dict[str, Any]:
    """What the file remembers: facts and row by place; empty where it is not whole."""
    try:
        head, _, body = regular_text(_index_path(store)).partition("\n")
        if head != f"{VERSION} {hashlib.sha256(body.encode()).hexdigest()}":
            return {}
        rows = json.loads(body)
        return rows if isinstance(rows, dict) else {}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return {}


def _write_index(store: Store, rows: Mapping[str, Any]) -> None:
    body = json.dumps(rows, separators=(",", ":"))
    if store.artifacts.is_dir():
        with contextlib.suppress(OSError):
            write_atomically(_index_path(store), f"{VERSION} {hashlib.sha256(body.encode()).hexdigest()}\n{body}")
