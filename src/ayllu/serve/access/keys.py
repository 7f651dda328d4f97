"""API keys: made once, shown once, and kept as digests in a file of the home that only its owner can read."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.store import storage_told

PREFIX = "ayllu-"
"""What every key begins with, so that scanners for secrets know it."""
SECRET_BYTES = 32
"""So many random bytes that a plain hash hides them: nobody can try them all."""
NAME = re.compile(r"\w[\w.@ -]{0,63}")
SCOPES = ("models", "generate", "embeddings", "files", "audio", "metrics")
"""What a key may be for; all but the last unless it is made for less."""
ORDINARY = SCOPES[:-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """What is known of a key; times are seconds since 1970, and None is no limit."""

    id: str
    name: str
    digest: str
    """sha256 of the key's text."""
    created: int
    scopes: tuple[str, ...] = ORDINARY
    expires: int | None = None
    revoked: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None

    def state(self, now: float) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "valid"

    def told(self, now: float) -> dict[str, Any]:
        """What may be shown of it."""
        shown = {name: value for name, value in asdict(self).items() if name != "digest"}
        return {**shown, "scopes": list(self.scopes), "state": self.state(now)}


class KeyStore:
    """The keys of a home. Each question looks whether the file is another one by now: a revoked key stops at once."""

    def __init__(self, home: Path) -> None:
        self.path = home / "access" / "keys.json"
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()
        self._by_digest: dict[str, Key] = {}

    def all(self) -> tuple[Key, ...]:
        """All keys, in the order in which they were made. Raises UserError where the file is damaged."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            seen = None
        else:
            seen = (now.st_ino, now.st_mtime_ns, now.st_size)
        if seen != self._seen:
            keys = () if seen is None else self._read()
            self._seen, self._keys = seen, keys
            self._by_digest = {key.digest: key for key in keys}
        return self._keys

    def find(self, text: str) -> Key | None:
        """The key of that text, whatever its state; None where there is none."""
        self.all()
        return self._by_digest.get(_digest(text))

    def current(self, key: Key) -> Key | None:
        """What is known now of a key that was found before."""
        self.all()
        return self._by_digest.get(key.digest)

    def valid(self, now: float) -> bool:
        """Whether anybody could use a key now."""
        return any(key.state(now) == "valid" for key in self.all())

    def configured(self) -> bool:
        """Whether a key is asked for: there is one that was not revoked."""
        return any(key.revoked is None for key in self.all())

    def add(self, name: str, *, scopes: Sequence[str] = (), **limits: int | None) -> tuple[str, Key]:
        """Make a key: its text, which is kept nowhere, and what is kept. UserError for what cannot be."""
        if not NAME.fullmatch(name):
            raise UserError(f"{name[:64]!r} cannot name a key; use up to 64 letters, digits, spaces and - . _ @")
        if wrong := [scope for scope in scopes if scope not in SCOPES]:
            raise UserError(f"there is no scope {wrong[0]!r}; choose of {', '.join(SCOPES)}")
        for limit, value in limits.items():
            if value is not None and value < 1:
                raise UserError(f"{limit.replace('_', ' ')} is {value}; give at least 1")
        text = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        chosen = tuple(scope for scope in SCOPES if scope in scopes) or ORDINARY
        created = int(time.time())
        key = Key(id=secrets.token_hex(4), name=name, digest=_digest(text), created=created, scopes=chosen, **limits)
        with self._changing() as keys:
            if any(other.name == name and other.revoked is None for other in keys):
                raise UserError(f"there is a key {name!r} already; revoke it first, or choose another name")
            keys.append(key)
        return text, key

    def revoke(self, named: str) -> Key:
        """Let the key of that name or id be none any more; UserError where there is no such key."""
        with self._changing() as keys:
            for place, key in enumerate(keys):
                if named in (key.id, key.name) and key.revoked is None:
                    keys[place] = replace(key, revoked=int(time.time()))
                    return keys[place]
            raise UserError(f"there is no key {named[:64]!r} to revoke; `ayllu keys list` shows all")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        """The keys to be changed; they are written when all went well, and nobody else changes them meanwhile."""
        folder = self.path.parent
        with storage_told(folder, "the keys"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (folder / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                keys = list(self.all())
                yield keys
                self._write(keys)

    def _read(self) -> tuple[Key, ...]:
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
            return tuple(Key(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in value["keys"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{self.path} cannot be read ({error}); put back a copy, or move it away") from error

    def _write(self, keys: Sequence[Key]) -> None:
        text = json.dumps({"version": 1, "keys": [asdict(key) for key in keys]}, indent=2) + "\n"
        sibling = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        with contextlib.suppress(OSError):
            sibling.unlink()
        with os.fdopen(os.open(sibling, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sibling.replace(self.path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
