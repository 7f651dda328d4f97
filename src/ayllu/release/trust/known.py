"""The releases that were verified here before: who signed them first, and how new the newest of them was."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ayllu.lab.error import UserError
from ayllu.release import sign
from ayllu.release.files.listing import read_small
from ayllu.release.trust.revocation import moment

if TYPE_CHECKING:
    from ayllu.release.verify import Verification


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What is known of a release's signer, and of the release beside others by that signer."""

    signer: Literal["given", "known", "new", "changed"]
    """The key that the caller gave; the one seen first under this name; none seen yet; or another than that."""
    since: str | None = None
    """When the first release of this name was verified here."""
    first_key: str | None = None
    """Fingerprint of its key."""
    newer: str | None = None
    """Version of a newer release of this name by the same key that was verified here before, if there was one."""
    newer_created: str | None = None
    note: str | None = None
    """Why nothing is remembered, where that is so."""

    def as_json(self) -> dict[str, Any]:
        """For `ayllu release verify --json`."""
        return {
            "status": self.signer,
            "since": self.since,
            "first_key": self.first_key,
            "newer_version": self.newer,
            "newer_created": self.newer_created,
        }


def known_path() -> Path | None:
    """Where they are kept: beside the user's own key; None for a user without a home."""
    try:
        return sign.default_key_path().with_name("known-releases.json")
    except UserError:
        return None


def judge(found: Verification, path: Path | None) -> Standing:
    """Set a verified release against those kept in `path`, and keep it there.

    A name is tied to the key that signed it when it was first verified, until the caller gives another key that is
    trusted.
    """
    if path is None:
        note = "there is no home folder, so that no signer is remembered: set AYLLU_HOME"
        return Standing(signer="given" if found.pinned else "new", note=note)
    try:
        known = _read(path)
    except (OSError, ValueError, RecursionError) as error:
        note = f"{path} cannot be read ({error}): nothing is remembered"
        return Standing(signer="given" if found.pinned else "new", note=note)
    standing = _standing(found, known.get(str(found.name)))
    if standing.signer == "changed":
        return standing
    return _remember(found, known, path, standing)


def _standing(found: Verification, entry: dict[str, Any] | None) -> Standing:
    if entry is None:
        return Standing(signer="given" if found.pinned else "new")
    same = entry.get("key") == found.fingerprint
    since, first = str(entry.get("since")), str(entry.get("key"))
    if not same:
        return Standing(signer="given" if found.pinned else "changed", since=since, first_key=first)
    newest = str(entry.get("created") or "")
    before, now = moment(newest), moment(found.created)
    older = before is not None and now is not None and before > now
    return Standing(
        signer="given" if found.pinned else "known",
        since=since,
        first_key=first,
        newer=str(entry.get("version")) if older else None,
        newer_created=newest if older else None,
    )


def _remember(found: Verification, known: dict[str, dict[str, Any]], path: Path, standing: Standing) -> Standing:
    before = known.get(str(found.name), {})
    if standing.newer:
        return standing
    same = before.get("key") == found.fingerprint
    known[str(found.name)] = {
        "key": found.fingerprint,
        "since": before["since"] if same else datetime.now(UTC).isoformat(timespec="seconds"),
        "version": found.version,
        "created": found.created,
        "model_digest": found.model_digest,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        note = f"{path} cannot be written ({error.strerror}): this release is not remembered"
        return replace(standing, note=note)
    return standing


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        value = json.loads(read_small(path))
    except FileNotFoundError:
        return {}
    entries = value.values() if isinstance(value, dict) else [None]
    if not all(
        isinstance(e, dict) and isinstance(e.get("key"), str) and isinstance(e.get("since"), str) for e in entries
    ):
        raise ValueError("it holds something else")
    return value
