"""Containers of the code interpreter: sandboxes with files, kept for their owners while they are used."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ayllu.sandbox.files import checked
from ayllu.sandbox.outcome import Limits, Outcome
from ayllu.sandbox.session import Session
from ayllu.serve.containers.kept import ContainerFile, ContainerState
from ayllu.serve.responses.items import new_id

MOST = 8
"""Containers of all owners together: the one not used for longest is ended for a new one."""
MOST_MINUTES = 20
"""So long a container is kept after its last use, as OpenAI keeps its."""


@dataclass
class Container:
    """A sandbox of one owner, and when it was last used."""

    owner: str
    name: str
    minutes: int
    session: Session = field(default_factory=Session)
    waiting: dict[str, bytes] = field(default_factory=dict)
    """Files that are not yet copied into it."""
    given: dict[str, int] = field(default_factory=dict)
    """Files that were put into it, and when."""
    created: float = field(default_factory=time.time)
    active: float = field(default_factory=time.time)
    used: float = field(default_factory=time.monotonic)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def touch(self) -> None:
        """It is used now."""
        self.active, self.used = time.time(), time.monotonic()

    def keep(self, pictures: Sequence[bytes]) -> dict[str, bytes]:
        """Put pictures beside the files, as far as there is room; by the names that they get."""
        kept: dict[str, bytes] = {}
        for picture in pictures:
            number = 1
            while (path := f"picture-{number}.png") in self.files:
                number += 1
            with contextlib.suppress(ValueError):
                _check_room({**self.files, path: picture})
                self.waiting[path] = kept[path] = picture
        return kept

    @property
    def files(self) -> dict[str, bytes]:
        """What is in it, as the last program left it."""
        return {**self.session.files, **self.waiting}


class SandboxContainers:
    """`Containers` of the gateway, each a sandbox that is started when its first program runs."""

    def __init__(self) -> None:
        self._kept: dict[str, Container] = {}

    def has(self, owner: str, name: str) -> bool:
        """Whether an owner has a container."""
        self._sweep()
        return name in self._kept and self._kept[name].owner == owner

    def create(self, owner: str, name: str, minutes: int, files: Mapping[str, bytes]) -> ContainerState:
        for path in files:
            checked(path)
        _check_room(files)
        self._sweep(room=1)
        key = new_id("cntr")
        made = self._kept[key] = Container(owner, name, minutes)
        made.waiting.update(files)
        made.given = dict.fromkeys(files, int(made.created))
        return _state(key, made)

    def all(self, owner: str) -> Sequence[ContainerState]:
        self._sweep()
        return [_state(key, one) for key, one in self._kept.items() if one.owner == owner]

    def state(self, owner: str, name: str) -> ContainerState:
        return _state(name, self._find(owner, name))

    def delete(self, owner: str, name: str) -> None:
        self._find(owner, name)
        self._end(name)

    def files(self, owner: str, name: str) -> Sequence[ContainerFile]:
        found = self._find(owner, name)
        files = [_file(name, path, content, found) for path, content in found.files.items()]
        return sorted(files, key=lambda file: (file.created, file.path))

    def put(self, owner: str, name: str, path: str, content: bytes) -> ContainerFile:
        found = self._find(owner, name)
        _check_room({**found.files, checked(path): content})
        found.touch()
        found.waiting[path], found.given[path] = content, int(time.time())
        return _file(name, path, content, found)

    def content(self, owner: str, name: str, path: str) -> bytes:
        return self._find(owner, name).files[path]

    async def remove(self, owner: str, name: str, path: str) -> None:
        found = self._find(owner, name)
        if path not in found.files:
            raise KeyError(path)
        async with found.lock:
            found.touch()
            found.waiting.pop(path, None)
            found.given.pop(path, None)
            if path in found.session.files:
                found.session.forget(path)
                code = f"__import__('pathlib').Path({path!r}).unlink(missing_ok=True)"
                await asyncio.to_thread(found.session.run, code)

    async def run(self, owner: str, name: str, code: str) -> Outcome:
        """Run a cell; its pictures are among its files. Raises KeyError where the container has ended; NoSandbox."""
        found = self._find(owner, name)
        async with found.lock:
            waiting, found.waiting = found.waiting, {}
            found.touch()
            try:
                outcome = await asyncio.to_thread(found.session.run, code, files=waiting)
                return replace(outcome, files={**outcome.files, **found.keep(outcome.pictures)})
            except asyncio.CancelledError:
                found.session.cancel()
                raise
            finally:
                found.touch()

    def close(self) -> None:
        """End all of them."""
        for name in list(self._kept):
            self._end(name)

    def _find(self, owner: str, name: str) -> Container:
        if not self.has(owner, name):
            raise KeyError(name)
        return self._kept[name]

    def _end(self, name: str) -> None:
        self._kept.pop(name).session.close()

    def _sweep(self, room: int = 0) -> None:
        """End those that were not used for long, and the idlest where `room` more would be too many."""
        now = time.monotonic()
        idle = sorted((one.used, name) for name, one in self._kept.items() if not one.lock.locked())
        surplus = len(self._kept) + room - MOST
        for place, (used, name) in enumerate(idle):
            if place < surplus or now - used > 60 * self._kept[name].minutes:
                self._end(name)


def _state(key: str, one: Container) -> ContainerState:
    return ContainerState(id=key, name=one.name, created=int(one.created), active=int(one.active), minutes=one.minutes)


def file_id(container: str, path: str) -> str:
    """The id of a file in a container."""
    return f"cfile_{hashlib.sha256(f'{container}/{path}'.encode()).hexdigest()[:32]}"


def _file(container: str, path: str, content: bytes, one: Container) -> ContainerFile:
    when = one.given.get(path, int(one.active))
    return ContainerFile(
        id=file_id(container, path), path=path, size=len(content), created=when, by_user=path in one.given
    )


def _check_room(files: Mapping[str, bytes]) -> None:
    limits = Limits()
    for path, content in files.items():
        if len(content) > limits.file_mib << 20:
            raise ValueError(f"{path} has more than {limits.file_mib} MiB")
    if sum(map(len, files.values())) > limits.work_mib << 20:
        raise ValueError(f"the files of a container may have {limits.work_mib} MiB together")
