"""Where artifacts are kept: one folder each, named by stage and key, complete or not there at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.integrity import Digests, damages, listed_files, shown, unlisted
from ayllu.lab.key import content_digest
from ayllu.lab.progress import say

MANIFEST = "manifest.json"
FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_BYTES = 1 << 20
"""A disk with less room than this is full: whatever fails on it fails because of that."""
STORAGE = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS)
"""What goes wrong with a place to write to, and not with what is written."""
FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "stage": str,
    "key": str,
    "digest": str,
    "record": dict,
    "finished": str,
    "seconds": (int, float),
}
"""What every manifest holds, besides its files."""


def default_home() -> Path:
    """The folder for artifacts, keys and channels, absolute: $AYLLU_HOME, or ~/.local/share/ayllu."""
    return user_folder("AYLLU_HOME", ".local", "share", "ayllu")


def user_folder(variable: str, *parts: str) -> Path:
    """The folder that an environment variable names, or one in the user's home, absolute.

    Raises UserError where nothing says where the home is.
    """
    named = os.environ.get(variable)
    try:
        return absolute(Path(named)) if named else absolute(Path.home().joinpath(*parts))
    except RuntimeError as error:
        raise UserError(f"there is no home directory ({error}); set {variable} to a folder") from None


def absolute(path: Path) -> Path:
    """A path that stays the same when the folder is changed, `~` written out. UserError where that cannot be told."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"{path}: {error}; write the folder out") from None
    except OSError as error:
        raise UserError(f"the folder that this was started in is gone ({error.strerror}); change to another") from None


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
    """The manifest of an artifact's folder; UserError when there is none, or it is not as it was written."""
    path = folder / MANIFEST
    try:
        if not path.is_file():
            raise UserError(f"{folder} is no artifact: it has no {MANIFEST}; give a folder that a stage has written")
        return manifest_of(path.read_bytes(), f"{path}", "delete the folder to make it again")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error


def manifest_of(text: bytes, where: str, remedy: str) -> dict[str, Any]:
    """A manifest as it stands in a file; UserError, with what to do, where it is not as it was written."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is damaged ({error}); {remedy}") from error
    if wrong := _wrong_in(value):
        raise UserError(f"{where} is damaged ({wrong}); {remedy}")
    return value


def thing_of(manifest: Mapping[str, Any]) -> str:
    """What an artifact's folder is called: its stage and the beginning of its key."""
    return f"{manifest['stage']}-{manifest['key'][:16]}"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest with a checksum of its own."""
    whole = {name: value for name, value in manifest.items() if name != "checksum"}
    whole["checksum"] = _checksum(whole)
    write_atomically(folder / MANIFEST, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def _checksum(manifest: Mapping[str, Any]) -> str:
    """sha256 of what a manifest says, but for the checksum."""
    said = json.loads(json.dumps({name: value for name, value in manifest.items() if name != "checksum"}))
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _wrong_in(manifest: Any) -> str:
    """What makes a JSON value no manifest of an artifact; empty for one that is whole."""
    if not isinstance(manifest, dict):
        return "it is no JSON object"
    for name, kind in FIELDS.items():
        if not isinstance(manifest.get(name), kind):
            return f"it has no {name}"
    files = listed_files(manifest.get("files"))
    if files is None:
        return "its list of files cannot be read"
    # Manifests from before the checksum say less of themselves.
    if "checksum" in manifest:
        return "" if manifest["checksum"] == _checksum(manifest) else "it is not what was written"
    stated = content_digest({name: entry["sha256"] for name, entry in files.items()})
    return "" if not files or manifest["digest"] == stated else "its digest is not that of its files"


class Store:
    """Artifacts by stage and key under `home/artifacts`, unfinished work under `home/partial`."""

    def __init__(self, home: Path, *, writes: bool = True) -> None:
        """`writes` makes the folders, and refuses a home that cannot be written to with UserError."""
        self.home = absolute(home)
        if not writes:
            return
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
        return self.artifacts / thing_of({"stage": stage, "key": key})

    def digests(self, name: str, folder: Path) -> Digests:
        """The digests of the files of `folder`, which are remembered under the artifact's `name`."""
        return Digests(folder, self.home / "checked" / f"{name}.json")

    def look(self, stage: str, key: str, *, full: bool = False) -> tuple[dict[str, Any] | None, str]:
        """The manifest of a finished artifact that is whole, or None and what is wrong with what is there.

        Nothing is changed. Files that may have changed since they were read are read again, with `full` all of them.
        """
        folder = self.path(stage, key)
        if not os.path.lexists(folder):
            return None, ""
        try:
            manifest = read_manifest(folder)
        except UserError as error:
            return None, str(error)
        if (manifest["stage"], manifest["key"]) != (stage, key):
            return None, f"{folder / MANIFEST} is that of another result"
        wrong = damages(self.digests(folder.name, folder), manifest["files"], full=full)
        return (None, f"in {folder}: {'; '.join(wrong[:3])}") if wrong else (manifest, "")

    def find(self, stage: str, key: str, *, full: bool = False, label: str = "") -> dict[str, Any] | None:
        """What `look` finds; what is damaged is set aside, and so are files that no stage has written."""
        manifest, wrong = self.look(stage, key, full=full)
        folder = self.path(stage, key)
        if manifest is not None:
            for name in strays(folder, manifest):
                aside = folder.with_name(f"{folder.name}.unlisted") / name
                aside.parent.mkdir(parents=True, exist_ok=True)
                (folder / name).rename(aside)
                say(f"{label or stage}: {shown(name)} in {folder} was not made by it, and was moved to {aside.parent}")
        elif wrong:
            aside = folder.with_name(f"{folder.name}.damaged")
            erase(aside)
            folder.rename(aside)
            say(f"{label or stage}: what was kept is damaged ({wrong}); it was set aside and is made again")
        return manifest

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
        place = self.path(manifest["stage"], manifest["key"])
        seen = self.digests(place.name, folder)
        digests, files = {}, {}
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            if name == MANIFEST:
                raise ValueError(f"a stage wrote {MANIFEST} itself")
            digests[name] = seen.of(name, again=True)
            files[name] = {"bytes": path.stat().st_size, "sha256": digests[name]}
        write_manifest(folder, manifest | {"files": files, "digest": content_digest(digests)})
        seen.save()
        return self._move_in(folder, place)

    def bring(self, folder: Path, manifest: Mapping[str, Any]) -> Path:
        """Move a folder whose files are what `manifest` lists to its place, with that manifest."""
        write_manifest(folder, manifest)
        return self._move_in(folder, self.path(manifest["stage"], manifest["key"]))

    def _move_in(self, folder: Path, place: Path) -> Path:
        aside = place.with_name(place.name + ".replaced")
        if place.exists():  # a stage that is made again because its code has changed
            erase(aside)
            place.rename(aside)
        folder.rename(place)
        erase(aside)
        return place


def digests_of(folder: Path) -> Digests:
    """The digests of any folder, remembered in the store that it lies in, or in the user's."""
    folder = folder.absolute()
    store = folder.parent.parent
    if folder.parent.name == "artifacts" and (store / "partial").is_dir():
        return Store(store, writes=False).digests(folder.name, folder)
    try:
        home = default_home()
    except UserError:
        return Digests(folder, None)
    return Store(home, writes=False).digests(f"folder-{content_digest({'folder': str(folder)})[:16]}", folder)


def strays(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files in an artifact's folder that its stage has not written."""
    drafts = [path.name for path in folder.glob(f"{MANIFEST}.*partial")]
    return unlisted(folder, manifest["files"], besides=[MANIFEST, *drafts])


def erase(path: Path) -> None:
    """Remove a folder or file, if it is there and that is allowed."""
    with contextlib.suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut. An OSError names it."""
    sibling = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with sibling.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sibling.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            sibling.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def storage_told(folder: Path, what: str) -> Iterator[None]:
    """Turn what a full or closed file system does while `what` is done into a UserError; `folder` is the one at fault
    where the error does not say."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if problem := storage_problem(error, folder):
            raise UserError(f"{what}: {problem}; make room or choose another folder with --home") from error
        raise


def storage_problem(error: BaseException, folder: Path) -> str | None:
    """What the file system did and where, if that is the cause: libraries do not always say it with an OSError."""
    if isinstance(error, OSError) and error.errno in STORAGE:
        # Of a copy the second name is the file that was written to; a disk is full where something is written.
        wrote = error.filename2 if error.errno in FULL else None
        return f"{wrote or error.filename or folder}: {os.strerror(error.errno)}"
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free < FULL_BYTES:
            return f"{folder}: {os.strerror(errno.ENOSPC)}"
    return None
