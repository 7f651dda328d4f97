"""The manifest of a release: what it is, and the size and sha256 of every file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.version import AYLLU_VERSION
from ayllu.release.digest import StoredWeights, file_digests
from ayllu.release.documents.make import FIELD, FORMAT
from ayllu.release.files.contents import DOCUMENTS, MANIFEST
from ayllu.release.gates import GATES, RECORDS, SCORES
from ayllu.release.policy import Policy
from ayllu.release.reference import write_json

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
VERSION = re.compile(r"[A-Za-z0-9][\w.+-]{0,39}", re.ASCII)
"""What a release is called: short, and nothing that could be taken for a sentence."""


def check_called(what: str, given: str, form: re.Pattern[str]) -> None:
    """Raise UserError where a release cannot have `given` as its `what`, name or version, whose form is `form`."""
    if not form.fullmatch(given):
        raise UserError(f"the release's {what} is {given!r}: use letters, digits, dots, dashes and underscores")


def write_manifest(
    folder: Path, paths: Sequence[str], stored: StoredWeights, records: Mapping[str, Any], policy: Policy
) -> None:
    """Write manifest.json over the files at `paths`, which leave out the manifest itself and the signature.

    `records` has the values of records.json and scores.json by their names.
    """
    write_json(folder / MANIFEST, describe(folder, paths, stored, records, policy))


def describe(
    folder: Path, paths: Sequence[str], stored: StoredWeights, records: Mapping[str, Any], policy: Policy
) -> dict[str, Any]:
    """What `write_manifest` writes."""
    digests = file_digests(folder, list(paths))
    return {
        **records[RECORDS]["release"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "ayllu": AYLLU_VERSION,
        "model_digest": stored.digest,
        "bits_per_byte": pooled_bits_per_byte(records[SCORES]),
        "policy": policy.as_json(),
        "gates": list(GATES),
        **({FIELD: FORMAT} if any(path.startswith(DOCUMENTS) for path in paths) else {}),
        "files": {
            path: {"bytes": (folder / path).stat().st_size, "sha256": digest} for path, digest in digests.items()
        },
    }


def pooled_bits_per_byte(scores: Mapping[str, Any]) -> float | None:
    """Bits per byte over all held-out text together, or None where none was measured."""
    sources = list((scores.get("bits_per_byte") or {}).values())
    total = sum(source["bytes"] for source in sources)
    return sum(source["value"] * source["bytes"] for source in sources) / total if total else None
