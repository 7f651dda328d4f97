"""Where a team's things lie: a shared folder, or an S3-compatible bucket. Objects by name, written whole or not at all.

The one thing that everything above rests on is `create`: of several who make the same name, exactly one succeeds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ayllu.lab.error import UserError
from ayllu.lab.store import absolute

UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems without hard links say."""
CHUNK = 1 << 22
SENT, ASKED = 2, 3
"""How often a request to a bucket is sent before it has failed, and how often a failed one is made anew."""


class Objects(Protocol):
    """What a team's store is kept in. Every method raises OSError where the place cannot be reached."""

    url: str

    def create(self, name: str, data: bytes) -> bool:
        """Make an object, unless there is one of that name: whether it was made here."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Make or replace an object."""
        ...

    def read(self, name: str) -> bytes:
        """Its content; FileNotFoundError where there is none."""
        ...

    def names(self, folder: str) -> list[str]:
        """What lies right in a folder, sorted; nothing where there is none."""
        ...

    def size(self, name: str) -> int | None:
        """Its bytes; None where there is none."""
        ...

    def put(self, name: str, file: Path) -> None:
        """Make or replace an object with what is in a file."""
        ...

    def get(self, name: str, file: Path) -> None:
        """Write its content to a file; FileNotFoundError where there is none."""
        ...

    def remove(self, name: str) -> None:
        """Remove it, if it is there."""
        ...


class FolderObjects:
    """A folder on a disk that all can reach. UserError where it is not there: a disk that is not mounted looks so."""

    def __init__(self, folder: Path) -> None:
        self.folder = absolute(folder)
        self.url = str(self.folder)
        if not self.folder.is_dir():
            raise UserError(f"there is no folder {self.folder}; make it, or see whether its disk is mounted")
        rooms = (self.folder / name for name in ("artifacts", "blobs", "leases", "names"))
        self._known = next((room for room in rooms if room.is_dir()), None)
        """Something that was seen in the folder: it goes only where the disk goes."""

    def create(self, name: str, data: bytes) -> bool:
        path = self._path(name)
        with self._draft(path) as draft:
            draft.write_bytes(data)
            _to_disk(draft)
            try:
                # Unlike a new file that is then written, a link shows nobody a half of it.
                os.link(draft, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in UNSUPPORTED:
                    raise
                return _create_without_links(path, data)
        return True

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with self._draft(path) as draft:
            draft.write_bytes(data)
            draft.replace(path)

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def names(self, folder: str) -> list[str]:
        try:
            found = [path.name for path in self._path(folder).iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in found if not name.startswith("."))

    def size(self, name: str) -> int | None:
        try:
            return self._path(name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, name: str, file: Path) -> None:
        path = self._path(name)
        with self._draft(path) as draft:
            shutil.copyfile(file, draft)
            _to_disk(draft)
            draft.replace(path)

    def get(self, name: str, file: Path) -> None:
        shutil.copyfile(self._path(name), file)

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        """Raises OSError where the disk is gone: its empty mount point looks like a store of which nothing is left."""
        if self._known is None:
            room = self.folder / name.partition("/")[0]
            self._known = room if room.is_dir() else None
        elif not self._known.is_dir():
            raise OSError(errno.ENODEV, "what was in it is gone; see whether its disk is mounted", str(self.folder))
        return self.folder / name

    @contextlib.contextmanager
    def _draft(self, path: Path) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known = self._known or self.folder / path.relative_to(self.folder).parts[0]
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)


def _create_without_links(path: Path, data: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def _to_disk(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


class BucketObjects:
    """An S3-compatible bucket, or a folder in one. Keys and address are those that S3's own tools are told.

    Raises UserError where the package for it is missing, or the bucket.
    """

    def __init__(self, url: str) -> None:
        try:
            from s3fs import S3FileSystem
        except ImportError:
            raise UserError("a bucket needs the package s3fs: pip install 'ayllu[team]'") from None
        self.url = url
        self._root = url.removeprefix("s3://").strip("/")
        # What others have just made must be seen: no listing is remembered.
        self._files = S3FileSystem(use_listings_cache=False, skip_instance_cache=True, config_kwargs=_patience())
        self._files.retries = ASKED
        bucket = self._root.partition("/")[0]
        try:
            # `exists` says no, too, where the server cannot be reached.
            self._do(lambda _: self._files.call_s3("head_bucket", Bucket=bucket), "")
        except FileNotFoundError:
            raise UserError(
                f"there is no bucket {bucket!r} where {url} is looked for; make it, or mend the address"
            ) from None
        except PermissionError:  # to see the bucket; its objects may be allowed
            pass
        except OSError as error:
            raise UserError(f"the team's store {url} cannot be reached ({error.strerror or error})") from error
        self._excludes = False
        """Whether the server was seen to refuse an object that is there."""

    def create(self, name: str, data: bytes) -> bool:
        if not self._excludes:
            self._check_excludes()
        return self._create(name, data)

    def _check_excludes(self) -> None:
        """Raise UserError where the server makes an object a second time, as some do that do not know the condition."""
        name = f"probes/{secrets.token_hex(8)}"
        try:
            if self._create(name, b"1") and self._create(name, b"2"):
                raise UserError(
                    f"the server of {self.url} does not know If-None-Match, without which two machines may make one "
                    "thing at once; use a server that does, or a folder"
                )
        finally:
            with contextlib.suppress(OSError):
                self.remove(name)
        self._excludes = True

    def _create(self, name: str, data: bytes) -> bool:
        try:
            self._do(lambda path: self._files.pipe_file(path, data, mode="create"), name)
        except FileExistsError:
            return False
        return True

    def write(self, name: str, data: bytes) -> None:
        self._do(lambda path: self._files.pipe_file(path, data), name)

    def read(self, name: str) -> bytes:
        return bytes(self._do(self._files.cat_file, name))

    def names(self, folder: str) -> list[str]:
        try:
            found = self._do(lambda path: self._files.ls(path, detail=False, refresh=True), folder)
        except FileNotFoundError:
            return []
        return sorted(str(path).rsplit("/", 1)[-1] for path in found)

    def size(self, name: str) -> int | None:
        try:
            return int(self._do(lambda path: self._files.info(path, refresh=True), name)["size"])
        except FileNotFoundError:
            return None

    def put(self, name: str, file: Path) -> None:
        self._do(lambda path: self._files.put_file(str(file), path), name)

    def get(self, name: str, file: Path) -> None:
        self._do(lambda path: self._files.get_file(path, str(file)), name)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._do(self._files.rm_file, name)

    def _do(self, action: Callable[[str], Any], name: str) -> Any:
        """What an action on an object gives; what S3's library raises beside OSError becomes one."""
        try:
            return action(f"{self._root}/{name}")
        except OSError:
            raise
        except Exception as error:
            raise OSError(errno.EIO, f"{type(error).__name__}: {error}", f"{self.url}/{name}") from error


def _patience() -> dict[str, Any]:
    """How often a server that says nothing is sent a request: as usual it is five times five, each of which waits."""
    # Who sets the variable of S3's own tools is obeyed.
    return {} if "AWS_MAX_ATTEMPTS" in os.environ else {"retries": {"total_max_attempts": SENT}}


def open_objects(url: str) -> Objects:
    """The place of an address: a folder, or `s3://BUCKET/FOLDER`. Raises UserError on another kind."""
    kind = re.match(r"([A-Za-z][\w+.-]*)://", url)
    if kind is None:
        return FolderObjects(Path(url))
    if kind[1] == "file":
        return FolderObjects(Path(url.removeprefix("file://")))
    if kind[1] != "s3" or not url.removeprefix("s3://").strip("/"):
        raise UserError(f"{url!r} is no team's store; give a folder that all can reach, or s3://BUCKET/FOLDER")
    return BucketObjects(url)
