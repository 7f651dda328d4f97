"""A policy as a signed file: its rules are fixed, and signed, before a model is measured by them.

`ayllu release policy FILE` signs FILE; the evaluation that is given FILE keeps both digests in scores.json; the release
carries both files. A policy that was changed or signed afterwards has other digests than the evaluation kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from ayllu.lab.error import UserError
from ayllu.lab.integrity import unique_names
from ayllu.release import sign
from ayllu.release.files.listing import read_small
from ayllu.release.licences import PERMITTING
from ayllu.release.policy import Policy

POLICY, POLICY_SIGNATURE, EXCEPTION = "policy.json", "policy.sig", "exception.json"
MOST = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedPolicy:
    """A policy and the bytes that were signed."""

    policy: Policy
    content: bytes
    signature: bytes
    exceptions: bytes = b""
    """What second keys signed to let failing scores through (`exception.py`); no part of the policy's digests."""

    @property
    def digests(self) -> dict[str, str]:
        """What an evaluation keeps of it under `about`, `policy`."""
        return {
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "signature": hashlib.sha256(self.signature).hexdigest(),
        }

    def as_argument(self) -> str:
        """The two files as one text: what a recipe's stage can be given."""
        return json.dumps(
            {POLICY: self.content.decode("utf-8"), POLICY_SIGNATURE: self.signature.decode("utf-8")}
            | ({EXCEPTION: self.exceptions.decode("utf-8")} if self.exceptions else {})
        )

    @classmethod
    def from_argument(cls, text: str) -> SignedPolicy | None:
        """Read what `as_argument` gave; None for the name of a policy."""
        if not text.startswith("{"):
            return None
        files = json.loads(text)
        content, signature = files[POLICY].encode(), files[POLICY_SIGNATURE].encode()
        return cls(
            policy=Policy.from_file(_loads(content)),
            content=content,
            signature=signature,
            exceptions=files.get(EXCEPTION, "").encode(),
        )


def signature_path(path: Path) -> Path:
    """Where the signature of a policy file lies: beside it."""
    return path.with_suffix(".sig")


def exceptions_path(path: Path) -> Path:
    """Where exceptions to a policy file lie: beside it."""
    return path.with_suffix(".exceptions")


def sign_policy(path: Path, key: EllipticCurvePrivateKey) -> SignedPolicy:
    """Sign the policy file at `path`. Raises UserError where it is none, or already signed."""
    content = _content(path)
    policy = _parse(content, path)
    place = signature_path(path)
    if place.exists():
        raise UserError(f"{place} is there already: a policy is signed once; give changed rules a file of their own")
    signature = sign.sign(policy.name, {POLICY: hashlib.sha256(content).hexdigest()}, key)
    try:
        place.write_text(signature, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error.strerror}): give another folder") from None
    return SignedPolicy(policy=policy, content=content, signature=signature.encode())


def read_policy(path: Path) -> SignedPolicy:
    """The signed policy at `path`. Raises UserError where it is none, or not signed."""
    content = _content(path)
    try:
        signature = read_small(signature_path(path), MOST)
        signature.decode("utf-8")
    except (OSError, ValueError):
        raise UserError(f"{path} is not signed: run `ayllu release policy {path}` before you measure") from None
    try:
        exceptions = read_small(exceptions_path(path), MOST)
        exceptions.decode("utf-8")
    except FileNotFoundError:
        exceptions = b""
    except (OSError, ValueError) as error:
        raise UserError(f"{exceptions_path(path)} cannot be read ({error}): make it anew or take it away") from None
    return SignedPolicy(policy=_parse(content, path), content=content, signature=signature, exceptions=exceptions)


def _content(path: Path) -> bytes:
    try:
        return read_small(path, MOST)
    except OSError as error:
        raise UserError(f"the policy {path} cannot be read ({error.strerror}): give another file") from None


def _loads(content: bytes | str) -> Any:
    return json.loads(content, object_pairs_hook=unique_names)


def _parse(content: bytes, path: Path) -> Policy:
    try:
        return Policy.from_file(_loads(content.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no policy: {error}") from None


def policy_problems(
    folder: Path, manifest_policy: Policy, about: Mapping[str, Any], key: EllipticCurvePublicKey
) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, where the policy of a release was not signed before its evaluation.

    `about` is what scores.json says of the evaluation; `key` is the release's.
    """
    kept = about.get("policy")
    if not (folder / POLICY).exists() and not (folder / POLICY_SIGNATURE).exists():
        if kept is not None:
            yield "scores.json", f"was measured under a policy that the release does not hold ({POLICY})"
        elif manifest_policy.thresholds:
            yield POLICY, "is missing; thresholds are fixed in a signed file before the evaluation"
        elif others := sorted(set(manifest_policy.permitted_licences) - set(PERMITTING)):
            yield POLICY, f"is missing; that it permits {others[0]} is fixed in a signed file before the evaluation"
        return
    try:
        content, signature = (read_small(folder / name, MOST) for name in (POLICY, POLICY_SIGNATURE))
        policy = Policy.from_file(_loads(content))
        signed = sign.signed_digests(signature.decode("utf-8"), key)
    except sign.BadSignature as error:
        yield POLICY_SIGNATURE, str(error)
        return
    except (OSError, ValueError, RecursionError) as error:
        yield POLICY, f"or its signature cannot be read ({error})"
        return
    found = SignedPolicy(policy=policy, content=content, signature=signature)
    if signed != {POLICY: found.digests["sha256"]}:
        yield POLICY, "is not the policy that was signed"
    if kept != found.digests:
        yield POLICY, "was not signed before the evaluation: scores.json keeps other digests, or none"
    if policy != manifest_policy:
        yield POLICY, "has other rules than the manifest says"
