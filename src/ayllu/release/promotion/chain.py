"""The moves of all channels of a home, one line each, signed, and each naming the digest of the one before.

A line is `{"record": {…}, "key": PEM, "signature": base64}`: ECDSA on P-256 over the canonical JSON of the record.
What is changed, put in or taken out before the last line is found; the last lines alone could be cut off unseen, so
keep the digest that `promote` prints where that matters.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.lab.chain import Chain, Held
from ayllu.lab.channel import movers_of, movers_path
from ayllu.lab.error import UserError
from ayllu.lab.key import canonical
from ayllu.lab.store import Store, storage_told
from ayllu.release.sign import BadSignature, fingerprint, public_key, public_pem


def digest(record: Mapping[str, Any]) -> str:
    """sha256 of a record: what the next one names."""
    return hashlib.sha256(canonical(record)).hexdigest()


def read_chain(store: Store) -> list[dict[str, Any]]:
    """All records, oldest first. UserError where a line is not what was signed, or not where it was written."""
    return _chain(store).read()


def _chain(store: Store) -> Chain[dict[str, Any]]:
    return Chain(path=chain_path(store), check=_checked, digest=lambda line: digest(line["record"]))


def _checked(line: Any, before: str, number: int) -> dict[str, Any]:
    record = line["record"]
    if record["previous"] != before:
        raise ValueError("it does not follow the line before")
    try:
        key = public_key(str(line["key"]).encode(), f"line {number}")
        if fingerprint(key) != record["by"]:
            raise ValueError("it is signed by another key than it names")
        key.verify(base64.b64decode(line["signature"]), canonical(record), ec.ECDSA(hashes.SHA256()))
    except BadSignature as error:
        raise ValueError(str(error)) from None
    except InvalidSignature:
        raise ValueError("its signature does not fit") from None
    return dict(record)


@dataclass(frozen=True, kw_only=True)
class Moves:
    """The chain, held for one move of a channel."""

    records: Sequence[dict[str, Any]]
    """All that are there, oldest first."""
    channel: str
    key: ec.EllipticCurvePrivateKey
    held: Held[dict[str, Any]]

    def write(self, **said: Any) -> dict[str, Any]:
        """The record of a move, signed and written: before the channel moves, so that no move is without one."""
        by = fingerprint(self.key.public_key())
        number, previous = len(self.records) + 1, self.held.last()
        record = {"number": number, "previous": previous, "channel": self.channel, "by": by, **said}
        signature = base64.b64encode(self.key.sign(canonical(record), ec.ECDSA(hashes.SHA256()))).decode()
        self.held.append({"record": record, "key": public_pem(self.key.public_key()).decode(), "signature": signature})
        return record


@contextlib.contextmanager
def moving(store: Store, channel: str, key: ec.EllipticCurvePrivateKey) -> Iterator[Moves]:
    """Hold the chain for one move. What was written of it is taken back where the block fails.

    UserError where the key may not move the channel: `movers.json` of the home, where it is, names for each pattern of
    channels the fingerprints of keys that may.
    """
    _check_mover(store, channel, fingerprint(key.public_key()))
    with storage_told(store.home, "the chain of promotions"), _chain(store).held() as held:
        yield Moves(records=held.chain.read(), channel=channel, key=key, held=held)


def _check_mover(store: Store, channel: str, by: str) -> None:
    allowed = movers_of(store, channel)
    if allowed is not None and by not in allowed:
        raise UserError(f"the key {by[:16]}… may not move {channel}: {movers_path(store)} names those that may")


def chain_path(store: Store) -> Path:
    """Where the chain is."""
    return store.home / "promotions.jsonl"
