"""What publishers have taken back: signed lists that anybody can hand on, and that say until when they speak.

A list speaks only for releases that were signed with its own key, so that it can be taken from anywhere. Its number
grows with every change, and an older one never replaces a newer; after its last day nobody knows what it would say.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from ayllu.lab.error import UserError
from ayllu.lab.integrity import strict_json
from ayllu.release import sign
from ayllu.release.files.contents import MANIFEST
from ayllu.release.files.listing import read_small

MOST = 4 << 20
CLOCKS_APART = timedelta(days=1)
"""By how much the clocks of two machines may differ before it is said."""
SIGNED = "revocations"
"""What the signature of a list calls it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revocations:
    """A list whose signature holds."""

    publisher: str
    """Fingerprint of the key that signed it, and for whose releases it speaks."""
    number: int
    expires: datetime
    releases: tuple[Mapping[str, Any], ...]
    """`model_digest`, `name`, `version`, `reason` and `since` of each release that was taken back."""
    issued: datetime | None
    """When it was signed; None where it does not say."""
    key_reason: str | None
    """Why the key itself is not to be trusted any more, and with it all that it signed; None where it is."""

    @property
    def expired(self) -> bool:
        """Whether its last day is over."""
        return datetime.now(UTC) >= self.expires

    @property
    def from_the_future(self) -> bool:
        """Whether this machine's clock says a day before it was signed, so that nobody knows what has ended."""
        return self.issued is not None and datetime.now(UTC) < self.issued - CLOCKS_APART

    def against(self, model_digest: str | None) -> str | None:
        """Why a release of its publisher with these weights was taken back, or None."""
        if self.key_reason is not None:
            return f"its publisher's key was revoked: {self.key_reason}"
        for entry in self.releases:
            if model_digest and entry.get("model_digest") == model_digest:
                return f"it was revoked by its publisher on {entry.get('since')}: {entry.get('reason')}"
        return None

    def as_json(self) -> dict[str, Any]:
        """What the commands print with `--json`."""
        return {
            "publisher": self.publisher,
            "number": self.number,
            "expires": self.expires.isoformat(),
            "expired": self.expired,
            "clock_behind": self.from_the_future,
            "releases": [dict(entry) for entry in self.releases],
            "key_reason": self.key_reason,
        }

    def told(self) -> str:
        """One sentence."""
        what = "everything" if self.key_reason is not None else f"{len(self.releases)} of the releases"
        over = ", which is over: get a new list" if self.expired else ""
        if self.from_the_future and self.issued:
            over += f"; this machine's clock is wrong, for the list was signed on {self.issued.date()}: set it"
        return f"{what} signed with {self.publisher} revoked; the list speaks until {self.expires.date()}{over}"


def released(folder: Path, key: EllipticCurvePublicKey) -> dict[str, Any]:
    """Name, version and weights of the release in `folder`. UserError where it is none, or not signed with `key`."""
    try:
        own = sign.public_key(read_small(folder / sign.PUBLIC_KEY, 1 << 16), "it")
        manifest = json.loads(read_small(folder / MANIFEST))
        fields = {name: manifest[name] for name in ("name", "version", "model_digest")}
    except (OSError, ValueError, LookupError, TypeError, RecursionError, sign.BadSignature) as error:
        raise UserError(f"{folder} is no release ({error}): give the folder of one") from None
    if sign.fingerprint(own) != sign.fingerprint(key):
        raise UserError(f"{folder} is signed with another key than yours: only who signed it can revoke it")
    return fields


def lists_folder() -> Path:
    """Where the lists that this machine knows are kept: beside the user's own key."""
    return sign.default_key_path().with_name("revocations")


def moment(text: str | None) -> datetime | None:
    """A time with its zone, as manifests and lists give it; None for anything else."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else None


def parse(content: bytes) -> Revocations:
    """Read a list. Raises ValueError with one sentence where it is none, or its signature does not hold."""
    try:
        whole = strict_json(content)
        text, pem = whole["list"], whole["key"].encode()
        key = sign.public_key(pem, "the list")
        signed = sign.signed_digests(json.dumps(whole["signature"]), key)
        fields = strict_json(text)
        if signed != {SIGNED: hashlib.sha256(text.encode()).hexdigest()}:
            raise ValueError("its signature is of something else")
        expires, issued = moment(fields["expires"]), moment(fields.get("issued"))
        if not isinstance(fields["number"], int) or expires is None:
            raise ValueError("it has no number, or no last day with its time zone")
        return Revocations(
            publisher=sign.fingerprint(key),
            number=fields["number"],
            expires=expires,
            issued=issued,
            releases=tuple(dict(entry) for entry in fields["releases"]),
            key_reason=None if fields["key_reason"] is None else str(fields["key_reason"]),
        )
    except sign.BadSignature as error:
        raise ValueError(f"its signature {error}") from None
    except (AttributeError, KeyError, TypeError, RecursionError, UnicodeError):
        raise ValueError("it is no list of revocations") from None


def revoke(
    path: Path,
    key: EllipticCurvePrivateKey,
    *,
    release: Mapping[str, Any] | None = None,
    reason: str = "",
    whole_key: bool = False,
    days: int = 90,
) -> Revocations:
    """Write a list to `path`: what stands there, one release or the key more, and a new last day.

    `release` has `name`, `version` and `model_digest`. Raises UserError where `path` holds another's list.
    """
    if not 1 <= days <= 3650:
        raise UserError(f"a list that speaks for {days} days is none: give from 1 to 3650")
    if (release is not None or whole_key) and not reason.strip():
        raise UserError("users will read why: give --reason in one sentence")
    before = _before(path, sign.fingerprint(key.public_key()))
    now = datetime.now(UTC)
    entries = list(before.releases) if before else []
    if release is not None and all(entry.get("model_digest") != release["model_digest"] for entry in entries):
        fields = {name: release[name] for name in ("name", "version", "model_digest")}
        entries.append(fields | {"reason": reason, "since": now.date().isoformat()})
    text = json.dumps(
        {
            "number": before.number + 1 if before else 1,
            "issued": now.isoformat(timespec="seconds"),
            "expires": (now + timedelta(days=days)).isoformat(timespec="seconds"),
            "releases": entries,
            "key_reason": reason if whole_key else before.key_reason if before else None,
        },
        indent=1,
        ensure_ascii=False,
    )
    bundle = json.loads(sign.sign(SIGNED, {SIGNED: hashlib.sha256(text.encode()).hexdigest()}, key))
    whole = {"list": text, "key": sign.public_pem(key.public_key()).decode(), "signature": bundle}
    _write(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    return parse(path.read_bytes())


def _before(path: Path, publisher: str) -> Revocations | None:
    try:
        found = parse(read_small(path, MOST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} holds no list of revocations ({error}): give a new file") from None
    if found.publisher != publisher:
        raise UserError(f"{path} is signed with another key ({found.publisher}): give a file of your own")
    return found


def learn(path: Path, folder: Path | None = None) -> tuple[Revocations, bool]:
    """Keep the list at `path`, and say whether it is newer than what was kept. UserError where it is none."""
    try:
        content = read_small(path, MOST)
        found = parse(content)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a list of revocations") from None
    except ValueError as error:
        raise UserError(f"{path} is not to be believed: {error}") from None
    place = (folder or lists_folder()) / f"{found.publisher}.json"
    kept = known(found.publisher, folder)
    if kept and kept.number >= found.number:
        return kept, False
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UserError(f"{place.parent} cannot be made ({error.strerror}): set AYLLU_HOME") from None
    _write(place, content.decode("utf-8"))
    return found, True


def known(publisher: str, folder: Path | None = None) -> Revocations | None:
    """The newest list of a publisher that this machine has; None where it has none, or a damaged one."""
    try:
        found = parse(read_small((folder or lists_folder()) / f"{publisher}.json", MOST))
    except (OSError, ValueError, UserError):  # a user without a home knows no list
        return None
    return found if found.publisher == publisher else None


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({error.strerror}): make room or give another file") from None
