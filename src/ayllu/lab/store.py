"""Where artifacts are kept: one folder each, named by stage and key, complete or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.key import content_digest, file_digest
from ayllu.lab.progress import say

MANIFEST = "manifest.json"


def default_home() -> Path:
    """The folder for artifacts, keys and channels: $AYLLU_HOME, or ~/.local/share/ayllu."""
    named = os.environ.get("AYLLU_HOME")
    return Path(named).expanduser() if named else Path.home() / ".local" / "share" / "ayllu"


class Artifact:
    """A finished folder and the manifest that says how it came to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def manifest(self) -> dict[str, Any]:
        """Stage, key, arguments, inputs, files with digests, record, predictions, times and machine."""
        return read_manifest(self.folder)

    @property
    def record(self) -> dict[str, Any]:
        """What the stage measured and noted."""
        return self.manifest["record"]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact's folder; UserError when there is none."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder} is no artifact: it has no {MANIFEST}; give a folder that a stage has written"
        ) from None
    except json.JSONDecodeError as error:
        raise UserError(f"{folder / MANIFEST} is damaged ({error}); delete the folder to make it again") from error


class Store:
    """Artifacts by stage and key under `home/artifacts`, unfinished work under `home/partial`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        try:
            for folder in (self.artifacts, self.partial):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.partial / f".write-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(f"cannot write to {home} ({error.strerror}); choose another folder with --home") from error

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    @property
    def partial(self) -> Path:
        return self.home / "partial"

    def logs(self, stage: str, key: str) -> Path:
        """Where people can watch a stage run: metrics, events, curves."""
        return self.home / "logs" / f"{stage}-{key[:16]}"

    def path(self, stage: str, key: str) -> Path:
        return self.artifacts / f"{stage}-{key[:16]}"

    def find(self, stage: str, key: str) -> dict[str, Any] | None:
        """The manifest of a finished artifact whose files are all there, or None; a damaged one is set aside."""
        folder = self.path(stage, key)
        if not folder.exists():
            return None
        try:
            manifest = read_manifest(folder)
            whole = manifest["key"] == key and all(
                (folder / name).stat().st_size == facts["bytes"] for name, facts in manifest["files"].items()
            )
        except (UserError, OSError, KeyError):
            whole = False
        if whole:
            return manifest
        aside = folder.with_name(folder.name + ".damaged")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        say(f"{stage}: what was kept in {folder} is damaged; it was set aside and is made again")
        return None

    def manifests(self, stage: str | None = None) -> list[dict[str, Any]]:
        """Manifests of all finished artifacts (of `stage`), oldest first."""
        found = []
        for path in self.artifacts.glob(f"{stage or ''}*/{MANIFEST}"):
            with contextlib.suppress(UserError):
                manifest = read_manifest(path.parent)
                aside = path.parent != self.path(manifest["stage"], manifest["key"])
                if stage in (None, manifest["stage"]) and not aside:
                    found.append(manifest | {"folder": str(path.parent)})
        return sorted(found, key=lambda m: m["finished"])

    @contextlib.contextmanager
    def work(self, stage: str, key: str) -> Iterator[Path]:
        """The place for unfinished work on `key`, held by this process alone; the lock dies with the process."""
        folder = self.partial / f"{stage}-{key[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        with (self.partial / f"{folder.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"{stage}: another process is at it; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            folder.mkdir(parents=True, exist_ok=True)
            yield folder

    def finish(self, folder: Path, manifest: dict[str, Any]) -> Path:
        """Digest the files of `folder`, write the manifest, and move it to its place in one rename."""
        digests, files = {}, {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            if name == MANIFEST:
                raise ValueError(f"a stage wrote {MANIFEST} itself")
            digests[name] = file_digest(path)
            files[name] = {"bytes": path.stat().st_size, "sha256": digests[name]}
        manifest = manifest | {"files": files, "digest": content_digest(digests)}
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        place = self.path(manifest["stage"], manifest["key"])
        aside = place.with_name(place.name + ".replaced")
        if place.exists():  # a stage that is made again because its code has changed
            shutil.rmtree(aside, ignore_errors=True)
            place.rename(aside)
        folder.rename(place)
        shutil.rmtree(aside, ignore_errors=True)
        return place


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    sibling = path.with_name(path.name + ".partial")
    with sibling.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sibling.replace(path)
