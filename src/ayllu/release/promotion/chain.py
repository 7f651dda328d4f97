"""The moves of all channels of a home, one line each, signed, and each naming the digest of the one before.

A line is `{"record": {…}, "key": PEM, "signature": base64}`: ECDSA on P-256 over the canonical JSON of the record.
What is changed, put in or taken out before the last line is found; the last lines alone could be cut off unseen, so
keep the digest that `promote` prints where that matters.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_text
from ayllu.lab.key import canonical
from ayllu.lab.store import Store, storage_told
from ayllu.release.sign import BadSignature, fingerprint, public_key, public_pem

FIRST = "0" * 64
DAMAGE = (ValueError, RecursionError, KeyError, TypeError, BadSignature, InvalidSignature)


def digest(record: Mapping[str, Any]) -> str:
    """sha256 of a record: what the next one names."""
    return hashlib.sha256(canonical(record)).hexdigest()


def read_chain(store: Store) -> list[dict[str, Any]]:
    """All records, oldest first. UserError where a line is not what was signed, or not where it was written.

    A last line that a kill cut short is none: nothing was moved by it.
    """
    path = chain_path(store)
    try:
        *lines, last = regular_text(path).split("\n")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_checked(json.loads(line), found, f"line {number}"))
        except DAMAGE as error:
            why = str(error) or "its signature does not fit"
            raise UserError(f"{path} is not as it was written: line {number}: {why}; put back a copy of it") from None
    if last:
        with contextlib.suppress(*DAMAGE):
            found.append(_checked(json.loads(last), found, "the last line"))
    return found


def _checked(line: Any, before: list[dict[str, Any]], where: str) -> dict[str, Any]:
    record = line["record"]
    if record["previous"] != (digest(before[-1]) if before else FIRST):
        raise ValueError("it does not follow the line before")
    key = public_key(str(line["key"]).encode(), where)
    if fingerprint(key) != record["by"]:
        raise ValueError("it is signed by another key than it names")
    key.verify(base64.b64decode(line["signature"]), canonical(record), ec.ECDSA(hashes.SHA256()))
    return dict(record)


@dataclass(frozen=True, kw_only=True)
class Moves:
    """The chain, held for one move of a channel."""

    records: Sequence[dict[str, Any]]
    """All that are there, oldest first."""
    channel: str
    key: ec.EllipticCurvePrivateKey
    file: int

    def write(self, **said: Any) -> dict[str, Any]:
        """The record of a move, signed and written: before the channel moves, so that no move is without one."""
        by = fingerprint(self.key.public_key())
        previous = digest(self.records[-1]) if self.records else FIRST
        record = {"number": len(self.records) + 1, "previous": previous, "channel": self.channel, "by": by, **said}
        signature = self.key.sign(canonical(record), ec.ECDSA(hashes.SHA256()))
        line = {
            "record": record,
            "key": public_pem(self.key.public_key()).decode(),
            "signature": base64.b64encode(signature).decode(),
        }
        _write(self.file, json.dumps(line).encode() + b"\n")
        return record


@contextlib.contextmanager
def moving(store: Store, channel: str, key: ec.EllipticCurvePrivateKey) -> Iterator[Moves]:
    """Hold the chain for one move. What was written of it is taken back where the block fails.

    UserError where the key may not move the channel: `movers.json` of the home, where it is, names for each pattern of
    channels the fingerprints of keys that may.
    """
    _check_mover(store, channel, fingerprint(key.public_key()))
    path = chain_path(store)
    with storage_told(store.home, "the chain of promotions"), path.open("ab", buffering=0) as opened:
        file = opened.fileno()
        fcntl.flock(file, fcntl.LOCK_EX)
        records = read_chain(store)
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if len(records) > text.count(b"\n"):
            _write(file, b"\n")
        elif whole < len(text):
            os.ftruncate(file, whole)
        size = os.fstat(file).st_size
        try:
            yield Moves(records=records, channel=channel, key=key, file=file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(file, size)
            raise


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]
    os.fsync(file)


def _check_mover(store: Store, channel: str, by: str) -> None:
    path = store.home / "movers.json"
    try:
        movers = json.loads(regular_text(path))
        allowed = {pattern: list(keys) for pattern, keys in movers.items()}
        if not all(isinstance(keys, list) for keys in movers.values()):
            raise TypeError('keys stand in a list: {"assistant@*": ["FINGERPRINT"]}')
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}): no channel is moved until it says who may") from None
    if not any(by in keys for pattern, keys in allowed.items() if fnmatch.fnmatchcase(channel, pattern)):
        raise UserError(f"the key {by[:16]}… may not move {channel}: {path} names those that may")


def chain_path(store: Store) -> Path:
    """Where the chain is."""
    return store.home / "promotions.jsonl"
