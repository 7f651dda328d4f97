"""A second key's signed exception: the only way to build a release in spite of a failing threshold.

The policy names in advance, signed before the evaluation, by which keys; the release's own is never one of them. An
exception speaks for one score of one evaluation: it holds the sha256 of scores.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from ayllu.lab.error import UserError
from ayllu.lab.integrity import strict_json
from ayllu.lab.store import storage_told, write_atomically
from ayllu.release import sign
from ayllu.release.files.listing import read_small
from ayllu.release.policy import Policy
from ayllu.release.trust.policy_file import EXCEPTION, exceptions_path, read_policy
from ayllu.release.trust.verdicts import verdicts

SIGNED = "exception"
"""What the signature calls it."""
MOST = 1 << 20
SCORES = "scores.json"


def make_exception(scores: Path, path: Path, key: EllipticCurvePrivateKey, *, score: str, reason: str) -> Path:
    """Put an exception to the signed policy at `path` into the file beside it, which this gives.

    UserError where the score does not fail the policy, or the key may not except it.
    """
    policy, place = read_policy(path).policy, exceptions_path(path)
    by = sign.fingerprint(key.public_key())
    if by not in policy.exceptions_by:
        raise UserError(f"the policy {policy.name} does not name the key {by[:16]}… in exceptions_by: it cannot except")
    if not reason.strip() or not reason.isprintable():
        raise UserError("whoever reads the card will read why: give --reason in one sentence, on one line")
    content, measured = _parsed(scores, dict, "are no scores of an evaluation: give its scores.json")
    words = [entry["verdict"] for entry in verdicts(policy, measured) if entry["score"] == score]
    if "FAIL" not in words:
        raise UserError(f"{score} does not fail the policy {policy.name} ({', '.join(words) or 'no threshold'})")
    text = json.dumps(
        {"policy": policy.digest, "scores": hashlib.sha256(content).hexdigest(), "score": score, "reason": reason},
        ensure_ascii=False,
    )
    bundle = sign.sign(SIGNED, {SIGNED: hashlib.sha256(text.encode()).hexdigest()}, key)
    made = {"exception": text, "key": sign.public_pem(key.public_key()).decode(), "signature": json.loads(bundle)}
    with storage_told(place, "the exception"):
        kept = _parsed(place, list, "are no exceptions: take the file away")[1] if place.exists() else []
        write_atomically(place, json.dumps([*kept, made], indent=1, ensure_ascii=False) + "\n")
    return place


def _parsed(path: Path, kind: type[Any], otherwise: str) -> tuple[bytes, Any]:
    """The bytes of a JSON file and its value, which is a `kind`. UserError where it is none."""
    try:
        content = read_small(path)
        value = strict_json(content)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give another file") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise UserError(f"the contents of {path} {otherwise}")
    return content, value


def read_exceptions(folder: Path) -> list[dict[str, Any]]:
    """What exception.json of a release holds; nothing where there is none. ValueError where it is no list."""
    try:
        found = strict_json(read_small(folder / EXCEPTION, MOST))
    except FileNotFoundError:
        return []
    except RecursionError:
        raise ValueError(f"{EXCEPTION} is nested too deeply") from None
    if not isinstance(found, list):
        raise ValueError(f"{EXCEPTION} is no list of exceptions")
    return found


def excused(folder: Path, policy: Policy, release_key: EllipticCurvePublicKey) -> dict[str, dict[str, str]]:
    """Score to `reason` and `by` of each exception that holds. Raises ValueError with why where one does not."""
    found = {}
    for entry in read_exceptions(folder):
        try:
            text, key = str(entry["exception"]), sign.public_key(str(entry["key"]).encode(), "an exception")
            signed = sign.signed_digests(json.dumps(entry["signature"]), key)
            fields = strict_json(text)
            score, reason = str(fields["score"]), str(fields["reason"])
        except (sign.BadSignature, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"holds an exception that is not to be believed ({error})") from None
        by = sign.fingerprint(key)
        if signed != {SIGNED: hashlib.sha256(text.encode()).hexdigest()}:
            raise ValueError(f"holds an exception for {score} whose signature is of something else")
        if by not in policy.exceptions_by:
            raise ValueError(f"holds an exception for {score} by a key that the policy does not name")
        if by == sign.fingerprint(release_key):
            raise ValueError(f"holds an exception for {score} by the release's own key: it takes a second one")
        scores = hashlib.sha256(read_small(folder / SCORES)).hexdigest()
        if (fields.get("policy"), fields.get("scores")) != (policy.digest, scores):
            raise ValueError(f"holds an exception for {score} under another policy, or of another evaluation")
        found[score] = {"reason": reason, "by": by}
    return found


def exception_rows(excepted: dict[str, dict[str, str]]) -> Iterator[dict[str, str]]:
    """As records.json keeps them."""
    for score, about in excepted.items():
        yield {"score": score, **about}
