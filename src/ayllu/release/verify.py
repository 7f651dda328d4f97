"""Verify a release offline: who signed it, whether anything changed since, and whether it says what it holds.

Needs neither torch nor a network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ayllu.lab.error import UserError
from ayllu.release import gates, sign
from ayllu.release.digest import file_digests
from ayllu.release.documents.make import document_problems
from ayllu.release.files.contents import MANIFEST, oversized
from ayllu.release.files.listing import Listing, left_by_tools, list_folder, read_small
from ayllu.release.gates import RECORDS, SCORES, Problem
from ayllu.release.manifest import NAME, VERSION, pooled_bits_per_byte
from ayllu.release.policy import POLICIES, Policy
from ayllu.release.reference import json_object
from ayllu.release.trust.revocation import Revocations, known, moment
from ayllu.release.trust.verdicts import verdicts

RESULT = "release"
"""Where in the result of a run its release stands, with the proof beside it."""
CHANGED = "was changed after the release was signed"
UNSIGNED = 1 << 30
"""Bytes of the largest file that is read to tell what changed in a folder that nobody has signed."""
POINTER = 1024
"""Bytes that a pointer file of Git LFS has at most (git-lfs/git-lfs, docs/spec.md)."""
KEY_BYTES = 1 << 16
GATES = (*gates.GATES, "documents")
"""All that verification asks; documents follow from the manifest, so that they come last."""


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
    created: str | None
    """When it was signed, as it says itself."""
    files: int
    bytes: int
    beside: tuple[str, ...]
    """What git and the hub's client put beside the release: not signed, and not read."""
    undecided: tuple[str, ...]
    """Scores for which the release's own policy could not be decided (REVIEW)."""
    excepted: tuple[str, ...]
    """Scores that fail the release's own policy and that a second key let through."""
    revocations: Revocations | None
    """The newest list of its publisher that this machine has."""

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def gates(self) -> dict[str, str]:
        """Each gate's word: PASS, FAIL, or REVIEW where it could not decide, or where nothing was read."""
        failed = {problem.gate for problem in self.problems}
        unread = "integrity" in failed
        words = {gate: "FAIL" if gate in failed else "REVIEW" if unread else "PASS" for gate in GATES}
        if words["policy"] == "PASS" and (self.excepted or self.undecided):
            words["policy"] = "FAIL" if self.excepted else "REVIEW"
        return words

    @property
    def title(self) -> str:
        """Name and version where they are such, or the folder's name: no sentence that a stranger wrote."""
        if self.name and self.version and NAME.fullmatch(self.name) and VERSION.fullmatch(self.version):
            return f"{self.name} {self.version}"
        return self.folder.resolve().name

    def as_json(self) -> dict[str, Any]:
        """What `ayllu release verify --json` prints."""
        return {
            "verified": self.verified,
            "folder": str(self.folder),
            "name": self.name,
            "version": self.version,
            "model_digest": self.model_digest,
            "created": self.created,
            "key": self.fingerprint,
            "key_trusted": self.pinned and self.verified,
            "files": self.files,
            "bytes": self.bytes,
            "beside": list(self.beside),
            "review": list(self.undecided),
            "excepted": list(self.excepted),
            "gates": self.gates,
            "revocations_until": self.revocations.expires.isoformat() if self.revocations else None,
            "problems": [{"file": problem.file, "reason": problem.reason} for problem in self.problems],
        }


def verify_release(folder: Path, key: Path | None = None, *, lists: Path | None = None) -> Verification:
    """Check the release in `folder`; with `key`, a public key in PEM form, also that its owner signed it.

    `lists` is the folder of the revocations that are known, the user's own when not given.
    Raises UserError when `folder` is no release, or `key` no public key.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder of a release")
    if not (folder / MANIFEST).exists() and not (folder / sign.SIGNATURE).exists():
        raise UserError(f"{folder} is no release: it holds neither {MANIFEST} nor {sign.SIGNATURE}")
    if not (folder / sign.SIGNATURE).exists() and (folder / RESULT / sign.SIGNATURE).exists():
        raise UserError(f"{folder} is the result of a run, which holds its release: give {folder / RESULT}")
    trusted = _trusted_key(key) if key else None
    listing = list_folder(folder)
    problems = [Problem(file=path, reason=reason) for path, reason in sorted(listing.refused.items())]
    problems += [Problem(file=path, reason=reason) for path, reason in oversized(listing.files)]
    signer, fingerprint, signed = _signature(folder, trusted, problems)
    manifest = _manifest(folder, signed, problems)
    _set_aside(listing, signed)
    _compare(folder, listing.files, signed, manifest, problems)
    # What a file says is judged only when it is the file that was signed.
    said: dict[str, list[str]] = {"REVIEW": [], "FAIL": []}
    if not problems and signer:
        problems += _content_problems(folder, manifest, signer, said)
    revocations = known(fingerprint, lists) if fingerprint and not problems else None
    if revocations and (reason := revocations.against(_text(manifest.get("model_digest")))):
        problems.append(Problem(file=MANIFEST, reason=f"is that of a release that is not to be used: {reason}"))
    return Verification(
        folder=folder,
        problems=tuple(problems),
        pinned=trusted is not None,
        fingerprint=fingerprint,
        name=_text(manifest.get("name")),
        version=_text(manifest.get("version")),
        model_digest=_text(manifest.get("model_digest")),
        created=_text(manifest.get("created")),
        files=len(listing.files),
        bytes=sum(listing.files.values()),
        beside=tuple(sorted(listing.beside)),
        undecided=tuple(said["REVIEW"]),
        excepted=tuple(said["FAIL"]),
        revocations=revocations,
    )


def _set_aside(listing: Listing, signed: dict[str, str]) -> None:
    """Take out what the tools that carried the release have added; nothing that was signed, and nothing else."""
    aside = [path for path in listing.files if path not in signed and left_by_tools(path)]
    for path in aside:
        del listing.files[path]
    listing.beside += [path for path in aside if not path.startswith(".cache/")]
    listing.beside += [".cache/huggingface"] if any(path.startswith(".cache/") for path in aside) else []


def _trusted_key(path: Path) -> EllipticCurvePublicKey:
    try:
        with path.open("rb") as file:  # a pipe of the shell's may be given, and a device that never ends
            return sign.public_key(file.read(KEY_BYTES), str(path))
    except OSError as error:
        raise UserError(f"the trusted key {path} cannot be read ({error.strerror}): give the publisher's key") from None
    except sign.BadSignature as error:
        raise UserError(f"{error}: give the publisher's public key") from None


def _signature(
    folder: Path, trusted: EllipticCurvePublicKey | None, problems: list[Problem]
) -> tuple[EllipticCurvePublicKey | None, str | None, dict[str, str]]:
    """The signer's key, the fingerprint of the release's own, and the digests that its signature vouches for."""
    refused = {problem.file for problem in problems}
    own = None if sign.PUBLIC_KEY in refused else _own_key(folder, problems)
    fingerprint = sign.fingerprint(own) if own else None
    signer = trusted or own
    if own and trusted and fingerprint != sign.fingerprint(trusted):
        reason = (
            f"is not the trusted key: its fingerprint is {fingerprint}, that of the trusted key "
            f"{sign.fingerprint(trusted)}"
        )
        problems.append(Problem(file=sign.PUBLIC_KEY, reason=reason))
    if sign.SIGNATURE in refused:
        return signer, fingerprint, {}
    try:
        bundle = read_small(folder / sign.SIGNATURE).decode("utf-8")
        return signer, fingerprint, sign.signed_digests(bundle, signer) if signer else {}
    except FileNotFoundError:
        problems.append(Problem(file=sign.SIGNATURE, reason="is missing: the release is not signed"))
    except OSError as error:
        problems.append(Problem(file=sign.SIGNATURE, reason=f"cannot be read ({error.strerror})"))
    except (sign.BadSignature, ValueError) as error:
        problems.append(Problem(file=sign.SIGNATURE, reason=str(error)))
    return signer, fingerprint, {}


def _own_key(folder: Path, problems: list[Problem]) -> EllipticCurvePublicKey | None:
    """The key that the release carries."""
    try:
        return sign.public_key(read_small(folder / sign.PUBLIC_KEY, KEY_BYTES), "the file")
    except FileNotFoundError:
        problems.append(Problem(file=sign.PUBLIC_KEY, reason="is missing"))
    except OSError as error:
        problems.append(Problem(file=sign.PUBLIC_KEY, reason=f"cannot be read ({error.strerror})"))
    except sign.BadSignature as error:
        problems.append(Problem(file=sign.PUBLIC_KEY, reason=f"is damaged: {error}"))
    return None


def _manifest(folder: Path, signed: dict[str, str], problems: list[Problem]) -> dict[str, Any]:
    """The manifest, where it is the one that was signed; in a folder that nobody signed, whatever it says."""
    if any(problem.file == MANIFEST for problem in problems):
        return {}
    try:
        content = read_small(folder / MANIFEST)
        changed = bool(signed) and hashlib.sha256(content).hexdigest() != signed.get(MANIFEST)
        if changed:
            problems.append(Problem(file=MANIFEST, reason=CHANGED))
        manifest = json_object(content.decode("utf-8"), MANIFEST)
        if isinstance(manifest.get("files"), dict):
            return {} if changed else manifest
        reason = "is no manifest of a release"
    except FileNotFoundError:
        reason = "is missing"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except ValueError as error:
        reason = f"is no manifest of a release ({error})"
    problems.append(Problem(file=MANIFEST, reason=reason))
    return {}


def _compare(
    folder: Path, found: dict[str, int], signed: dict[str, str], manifest: dict[str, Any], problems: list[Problem]
) -> None:
    """Set the files that are there, path to bytes, against the signature and, where that fails, against the manifest.

    Only files of the size that the manifest gives are read.
    """
    listed = {path: entry for path, entry in manifest.get("files", {}).items() if isinstance(entry, dict)}
    expected = signed or {path: str(entry.get("sha256")) for path, entry in listed.items()}
    named = {problem.file for problem in problems}
    ours = found if signed else {path: size for path, size in found.items() if path not in (MANIFEST, sign.SIGNATURE)}
    there = [path for path in ours if path != sign.SIGNATURE and path not in named]
    problems += [
        Problem(file=path, reason="is missing") for path in sorted(expected) if path not in named and path not in ours
    ]
    for path in sorted(there):
        if path not in expected:
            problems.append(Problem(file=path, reason="was added after the release was signed"))
    sized = [path for path in there if path in expected and _has_size(found[path], listed.get(path), bool(signed))]
    digests = file_digests(folder, sized)
    for path in sorted(there):
        if path in expected and path != MANIFEST and digests.get(path) != expected[path]:
            problems.append(Problem(file=path, reason=_changed(folder / path, found[path])))
    if signed and listed and not problems:
        for path in sorted(listed.keys() | (digests.keys() - {MANIFEST})):
            if listed.get(path, {}).get("sha256") != digests.get(path):
                problems.append(Problem(file=MANIFEST, reason=f"does not describe {path} as it is"))


def _has_size(size: int, entry: dict[str, Any] | None, signed: bool) -> bool:
    """Whether a file is worth reading: as long as the manifest says, and not huge where nobody signed the manifest."""
    known = entry is not None and signed
    return (entry is None or entry.get("bytes") == size) and (known or size <= UNSIGNED)


def _changed(path: Path, size: int) -> str:
    if size < POINTER and read_small(path).startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the file: run `git lfs pull`"
    return CHANGED


def _content_problems(
    folder: Path, manifest: dict[str, Any], signer: EllipticCurvePublicKey, said: dict[str, list[str]]
) -> list[Problem]:
    """What the gates find; scores that the policy leaves open, or that were excepted, are added to `said`."""
    try:
        policy = Policy.from_json(manifest.get("policy") or {})
    except ValueError as error:
        return [Problem(file=MANIFEST, reason=f"names no policy that can be checked: {error}")]
    problems = [Problem(file=MANIFEST, reason=reason) for reason in _promises(manifest, policy)]
    called = sign.signed_name(read_small(folder / sign.SIGNATURE).decode("utf-8"))
    if called != manifest.get("name"):
        reason = f"is of {called!r}, but {MANIFEST} calls the release {manifest.get('name')!r}"
        problems.append(Problem(file=sign.SIGNATURE, reason=reason))
    problems += gates.gate_problems(folder, policy, signer)
    if problems:
        return problems
    records, scores = (json.loads((folder / file).read_text(encoding="utf-8")) for file in (RECORDS, SCORES))
    for entry in verdicts(policy, scores):
        if entry["verdict"] in said:
            said[entry["verdict"]].append(entry["score"])
    stated = {
        **records["release"],
        "model_digest": records["model"]["digest"],
        "bits_per_byte": pooled_bits_per_byte(scores),
    }
    problems = [
        Problem(file=MANIFEST, reason=f"says {field} {manifest.get(field)}, but the records give {value}")
        for field, value in stated.items()
        if manifest.get(field) != value
    ]
    return problems or list(_documents(folder, manifest))


def _documents(folder: Path, manifest: dict[str, Any]) -> Iterator[Problem]:
    """Documents that say something else than the records; whatever a record holds, it ends in a problem."""
    try:
        for file, reason in document_problems(folder, manifest):
            yield Problem(file=file, reason=reason, gate="documents")
    except Exception as error:
        reason = f"holds something that no document can be made of ({type(error).__name__}: {error})"
        yield Problem(file=RECORDS, reason=" ".join(reason.split()), gate="documents")


def _promises(manifest: dict[str, Any], policy: Policy) -> Iterator[str]:
    """What a manifest says of gates, policy and name that a release may not say."""
    passed = manifest.get("gates")
    lacking = [gate for gate in gates.ALWAYS if not isinstance(passed, list) or gate not in passed]
    if lacking:
        yield f"does not name the gates that every release passes: {', '.join(lacking)}"
    others = [gate for gate in passed if gate not in GATES] if isinstance(passed, list) else []
    if others:
        yield f"says that it passed a gate {str(others[0])[:100]!r}, which this Ayllu does not have"
    ours = POLICIES.get(policy.name)
    if ours and ours.digest != policy.digest:
        yield f"calls its policy {policy.name}, but has other rules than the policy of that name"
    if moment(_text(manifest.get("created"))) is None:
        yield "gives no time with its zone at which it was made (created), so that nobody knows what is newer"
    for field, form in (("name", NAME), ("version", VERSION)):
        if not form.fullmatch(str(manifest.get(field))):
            yield f"gives a {field} that is none: letters, digits, dots, dashes and underscores make one"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
