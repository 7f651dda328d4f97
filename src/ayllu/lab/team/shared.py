"""What a team has: artifacts as manifests over content that is stored once, and names for them.

    blobs/ab/SHA256           the bytes of files, by their digest
    artifacts/STAGE-KEY.json  the manifest, made last: an artifact is whole or not there
    names/NAME/000001.json    what a name means, the last one now
    leases/STAGE-KEY/…        who is making what (lease.py)

Whatever is read is compared with its digest: the place is trusted with keeping, not with being right.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from ayllu.lab.channel import LONGEST_NAME, NAME, check_name
from ayllu.lab.error import UserError
from ayllu.lab.integrity import shown
from ayllu.lab.key import file_digest
from ayllu.lab.progress import Bar, say
from ayllu.lab.store import FULL, MANIFEST, Store, manifest_of, read_manifest, storage_told, thing_of
from ayllu.lab.team.lease import Pace
from ayllu.lab.team.objects import Objects

STAGE = re.compile(r"\w[\w.@+-]*")
KEY = re.compile(r"[0-9a-f]{64}")
ENTRY = re.compile(r"[\w.@+-]+-[0-9a-f]{16}")
MEANING = re.compile(r"[0-9]{6,}\.json")
LONGEST_PART, LARGEST_FILE = 255, 1 << 50
"""Bytes of a folder's or file's name, and of a file."""


class OtherResult(Exception):
    """The team has a result of its own under this key, with another content."""


class Team:
    """A team's store, and what one machine does with it."""

    def __init__(self, objects: Objects, *, pace: Pace | None = None) -> None:
        self.objects, self.pace = objects, pace or Pace()

    def manifest(self, name: str) -> dict[str, Any] | None:
        """The manifest of `STAGE-KEY` (the key's first 16 digits); None where the team has none.

        Raises UserError where it is damaged.
        """
        with self.told():
            try:
                text = self.objects.read(f"artifacts/{name}.json")
            except FileNotFoundError:
                return None
        where = f"{self.objects.url}/artifacts/{name}.json"
        found = manifest_of(text, where, "remove it, and push the artifact again from a machine that has it")
        if thing_of(found) != name or not _leads_nowhere_else(found):
            raise UserError(f"{where} is the manifest of something else; remove it")
        return found

    def artifacts(self) -> list[str]:
        """`STAGE-KEY` of all that is there."""
        with self.told():
            found = (name.removesuffix(".json") for name in self.objects.names("artifacts"))
            return [name for name in found if ENTRY.fullmatch(name)]

    def push(self, folder: Path, progress: Bar | None = None) -> bool:
        """Give the team the artifact in `folder`: whether it was not there before.

        Raises OtherResult where the team has another under its key, UserError where what is here is damaged.
        """
        manifest = read_manifest(folder)
        name = thing_of(manifest)
        present = self.manifest(name)
        if present is not None:
            if present["digest"] != manifest["digest"]:
                raise OtherResult(name)
            self._mend(folder, manifest, progress)
            return False
        self._put_all(folder, manifest, progress)
        with self.told():
            if self.objects.create(f"artifacts/{name}.json", (folder / MANIFEST).read_bytes()):
                return True
        present = self.manifest(name)
        if present is not None and present["digest"] != manifest["digest"]:
            raise OtherResult(name)
        return False

    def _mend(self, folder: Path, manifest: Mapping[str, Any], progress: Bar | None) -> None:
        """Put back what an artifact of the team has lost: files that are gone or cut."""
        with self.told():
            gone = {
                name: entry
                for name, entry in manifest["files"].items()
                if self.objects.size(_blob(entry)) != entry["bytes"]
            }
        if gone:
            say(f"{len(gone)} files of {thing_of(manifest)} were missing in {self.objects.url} and are put back")
            self._put_all(folder, {**manifest, "files": gone}, progress)

    def _put_all(self, folder: Path, manifest: Mapping[str, Any], progress: Bar | None) -> None:
        for name, entry in manifest["files"].items():
            with self.told():
                if self.objects.size(_blob(entry)) != entry["bytes"]:
                    _check_unchanged(folder / name, entry)
                    self.objects.put(_blob(entry), folder / name)
            if progress is not None:
                progress.advance(entry["bytes"] / 1e6)

    def pull(self, store: Store, manifest: Mapping[str, Any], room: Path, progress: Bar | None = None) -> Path:
        """Bring an artifact of the team's into a store, by way of the folder `room` there; gives its place.

        Raises UserError where a file is not what the manifest says; nothing of it is kept then.
        """
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(parents=True)
        try:
            with storage_told(store.home, thing_of(manifest)):
                for name, entry in manifest["files"].items():
                    self._fetch(manifest, name, room / name)
                    if progress is not None:
                        progress.advance(entry["bytes"] / 1e6)
                return store.bring(room, manifest)
        except BaseException:
            shutil.rmtree(room, ignore_errors=True)
            raise

    def _fetch(self, manifest: Mapping[str, Any], name: str, file: Path) -> None:
        entry = manifest["files"][name]
        file.parent.mkdir(parents=True, exist_ok=True)
        with self.told(besides=file):
            try:
                self.objects.get(_blob(entry), file)
            except FileNotFoundError:
                raise UserError(self._wrong(manifest, name, "is missing")) from None
        if file.stat().st_size != entry["bytes"] or file_digest(file) != entry["sha256"]:
            raise UserError(self._wrong(manifest, name, "is damaged"))

    def _wrong(self, manifest: Mapping[str, Any], name: str, what: str) -> str:
        entry = manifest["files"][name]
        place = f"{self.objects.url}/{_blob(entry)}"
        remedy = "remove that, and push the artifact again from a machine that has it"
        return f"{shown(name)} of {thing_of(manifest)} {what} in the team's store ({place}); {remedy}"

    def meaning(self, name: str) -> tuple[str, str] | None:
        """Stage and key that a name means; None where the team has no such name."""
        check_name(name)
        with self.told():
            last = self._last(name)
            if not last:
                return None
            path = f"names/{name}/{last:06}.json"
            text = self.objects.read(path)
        try:
            found = json.loads(text)
            stage, key = str(found["stage"]), str(found["key"])
        except (ValueError, KeyError, TypeError, RecursionError):
            stage = key = ""
        if not STAGE.fullmatch(stage) or not KEY.fullmatch(key):
            raise UserError(f"{self.objects.url}/{path} is damaged; remove it, and push {name!r} again")
        return stage, key

    def call(self, name: str, stage: str, key: str) -> None:
        """Let a name mean an artifact that the team has."""
        while self.meaning(name) != (stage, key):
            with self.told():
                number = self._last(name) + 1
                entry = {"stage": stage, "key": key, "since": datetime.now(UTC).isoformat(timespec="seconds")}
                # Whoever is faster comes first in the history, and this one after it.
                self.objects.create(f"names/{name}/{number:06}.json", json.dumps(entry).encode())

    def _last(self, name: str) -> int:
        """The number of what a name means now; 0 where it means nothing. Files of others are none."""
        found = filter(MEANING.fullmatch, self.objects.names(f"names/{name}"))
        return max((int(entry.removesuffix(".json")) for entry in found), default=0)

    def names(self) -> list[str]:
        with self.told():
            return [name for name in self.objects.names("names") if NAME.fullmatch(name) and len(name) <= LONGEST_NAME]

    @contextlib.contextmanager
    def told(self, besides: Path | None = None) -> Iterator[None]:
        """Turn what keeps the place from being read or written into a sentence, `besides` a file of this machine's."""
        try:
            yield
        except OSError as error:
            if besides is not None and (error.errno in FULL or error.filename == str(besides)):
                raise
            reason = error.strerror or str(error)
            raise UserError(f"the team's store {self.objects.url} cannot be used ({reason})") from error


def _leads_nowhere_else(manifest: Mapping[str, Any]) -> bool:
    """Whether all that a manifest of anybody's names can be files of one folder, and results of a store."""
    files, inputs = manifest["files"], manifest.get("inputs", {})
    whole = isinstance(inputs, dict) and all(isinstance(source, dict) for source in inputs.values())
    if not whole or not all(_names_result(source) for source in (manifest, *inputs.values())):
        return False
    return all(_is_file(name, entry, files) for name, entry in files.items())


def _names_result(named: Mapping[str, Any]) -> bool:
    stage, key = named.get("stage"), named.get("key")
    return isinstance(stage, str) and isinstance(key, str) and bool(STAGE.fullmatch(stage) and KEY.fullmatch(key))


def _is_file(name: str, entry: Mapping[str, Any], files: Mapping[str, Any]) -> bool:
    path = PurePosixPath(name)
    plain = name not in ("", ".", MANIFEST) and path.as_posix() == name
    fits = all(len(part.encode(errors="replace")) <= LONGEST_PART for part in path.parts)
    beside = not any(parent.as_posix() in files for parent in path.parents)
    return plain and fits and beside and 0 <= entry["bytes"] <= LARGEST_FILE and bool(KEY.fullmatch(entry["sha256"]))


def _check_unchanged(file: Path, entry: Mapping[str, Any]) -> None:
    """Raise UserError where a file here is not what was written: it may have changed since somebody looked."""
    try:
        whole = file_digest(file) == entry["sha256"]
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); make it again first") from error
    if not whole:
        raise UserError(f"{file} is not what its stage has written; make it again first")


def _blob(entry: Mapping[str, Any]) -> str:
    return f"blobs/{entry['sha256'][:2]}/{entry['sha256']}"
