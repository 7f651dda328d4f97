"""Verify a release offline: who signed it, whether anything changed since, and whether it says what it holds.

Needs neither torch nor a network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ayllu.lab.error import UserError
from ayllu.release import gates, sign
from ayllu.release.digest import file_digests, folder_files
from ayllu.release.gates import RECORDS, SCORES, Problem
from ayllu.release.manifest import MANIFEST, pooled_bits_per_byte
from ayllu.release.policy import Policy
from ayllu.release.reference import json_object


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What was found."""

    folder: Path
    problems: tuple[Problem, ...]
    pinned: bool
    """Whether the signature was checked against a key that the caller trusts."""
    fingerprint: str | None
    """Of the key that the release carries."""
    name: str | None
    version: str | None
    model_digest: str | None
    files: int
    bytes: int

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def title(self) -> str:
        """Name and version, or the folder's name."""
        return f"{self.name or self.folder.resolve().name} {self.version or ''}".strip()

    def as_json(self) -> dict[str, Any]:
        """What `ayllu release verify --json` prints."""
        return {
            "verified": self.verified,
            "folder": str(self.folder),
            "name": self.name,
            "version": self.version,
            "model_digest": self.model_digest,
            "key": self.fingerprint,
            "key_trusted": self.pinned and self.verified,
            "files": self.files,
            "bytes": self.bytes,
            "problems": [{"file": problem.file, "reason": problem.reason} for problem in self.problems],
        }


def verify_release(folder: Path, key: Path | None = None) -> Verification:
    """Check the release in `folder`; with `key`, a public key in PEM form, also that its owner signed it.

    Raises UserError when `folder` is no release, or `key` no public key.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder of a release")
    if not (folder / MANIFEST).exists() and not (folder / sign.SIGNATURE).exists():
        raise UserError(f"{folder} is no release: it holds neither {MANIFEST} nor {sign.SIGNATURE}")
    trusted = _trusted_key(key) if key else None
    irregular = [path for path in folder_files(folder) if (folder / path).is_symlink() or not (folder / path).is_file()]
    found = [path for path in folder_files(folder) if path not in irregular]
    digests = file_digests(folder, [path for path in found if path != sign.SIGNATURE])
    problems = [
        Problem(file=path, reason="is a link or no regular file; a release holds files only") for path in irregular
    ]
    fingerprint, signed = _signature(folder, trusted, problems)
    manifest = _manifest(folder, problems)
    _compare(digests, signed, manifest, problems)
    # What a file says is judged only when it is the file that was signed.
    if not problems:
        problems += _content_problems(folder, manifest)
    return Verification(
        folder=folder,
        problems=tuple(problems),
        pinned=trusted is not None,
        fingerprint=fingerprint,
        name=_text(manifest.get("name")),
        version=_text(manifest.get("version")),
        model_digest=_text(manifest.get("model_digest")),
        files=len(found),
        bytes=sum((folder / path).stat().st_size for path in found),
    )


def _trusted_key(path: Path) -> EllipticCurvePublicKey:
    try:
        return sign.public_key(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"the trusted key {path} cannot be read ({error.strerror}): give the publisher's key") from None
    except sign.BadSignature as error:
        raise UserError(f"{error}: give the publisher's public key") from None


def _signature(
    folder: Path, trusted: EllipticCurvePublicKey | None, problems: list[Problem]
) -> tuple[str | None, dict[str, str]]:
    """The fingerprint of the release's own key and the digests that its signature vouches for."""
    own = _own_key(folder, problems)
    fingerprint = sign.fingerprint(own) if own else None
    signer = trusted or own
    if own and trusted and fingerprint != sign.fingerprint(trusted):
        reason = (
            f"is not the trusted key: its fingerprint is {fingerprint}, that of the trusted key "
            f"{sign.fingerprint(trusted)}"
        )
        problems.append(Problem(file=sign.PUBLIC_KEY, reason=reason))
    try:
        bundle = (folder / sign.SIGNATURE).read_text(encoding="utf-8")
        return fingerprint, sign.signed_digests(bundle, signer) if signer else {}
    except OSError:
        problems.append(Problem(file=sign.SIGNATURE, reason="is missing: the release is not signed"))
    except (sign.BadSignature, ValueError) as error:
        problems.append(Problem(file=sign.SIGNATURE, reason=str(error)))
    return fingerprint, {}


def _own_key(folder: Path, problems: list[Problem]) -> EllipticCurvePublicKey | None:
    """The key that the release carries."""
    try:
        return sign.public_key((folder / sign.PUBLIC_KEY).read_bytes(), "the file")
    except OSError:
        problems.append(Problem(file=sign.PUBLIC_KEY, reason="is missing"))
    except sign.BadSignature as error:
        problems.append(Problem(file=sign.PUBLIC_KEY, reason=f"is damaged: {error}"))
    return None


def _manifest(folder: Path, problems: list[Problem]) -> dict[str, Any]:
    try:
        manifest = json_object((folder / MANIFEST).read_text(encoding="utf-8"), MANIFEST)
        if isinstance(manifest.get("files"), dict):
            return manifest
        reason = "is no manifest of a release"
    except OSError:
        reason = "is missing"
    except ValueError as error:
        reason = f"is no manifest of a release ({error})"
    problems.append(Problem(file=MANIFEST, reason=reason))
    return {}


def _compare(
    digests: dict[str, str], signed: dict[str, str], manifest: dict[str, Any], problems: list[Problem]
) -> None:
    """Set the files that are there against the signature and, where that fails, against the manifest."""
    listed = {path: entry.get("sha256") for path, entry in manifest.get("files", {}).items() if isinstance(entry, dict)}
    expected = signed or listed
    if not signed:
        digests = {path: digest for path, digest in digests.items() if path != MANIFEST}
    for path in sorted(expected.keys() | digests.keys()):
        if any(problem.file == path for problem in problems):
            continue
        if path not in digests:
            problems.append(Problem(file=path, reason="is missing"))
        elif path not in expected:
            problems.append(Problem(file=path, reason="was added after the release was signed"))
        elif digests[path] != expected[path]:
            problems.append(Problem(file=path, reason="was changed after the release was signed"))
    if signed and listed and not problems:
        for path in sorted(listed.keys() | (digests.keys() - {MANIFEST})):
            if listed.get(path) != digests.get(path):
                problems.append(Problem(file=MANIFEST, reason=f"does not describe {path} as it is"))


def _content_problems(folder: Path, manifest: dict[str, Any]) -> list[Problem]:
    try:
        policy = Policy.from_json(manifest.get("policy") or {})
    except ValueError as error:
        return [Problem(file=MANIFEST, reason=f"names no policy that can be checked: {error}")]
    problems = list(gates.gate_problems(folder, policy))
    if problems:
        return problems
    records, scores = (json.loads((folder / file).read_text(encoding="utf-8")) for file in (RECORDS, SCORES))
    stated = {
        **records["release"],
        "model_digest": records["model"]["digest"],
        "bits_per_byte": pooled_bits_per_byte(scores),
    }
    return [
        Problem(file=MANIFEST, reason=f"says {field} {manifest.get(field)}, but the records give {value}")
        for field, value in stated.items()
        if manifest.get(field) != value
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
