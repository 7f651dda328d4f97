"""Signatures over a folder in the OpenSSF Model Signing format, version 1.0, with an elliptic-curve key.

`model.sig` is a Sigstore bundle that holds a DSSE envelope around an in-toto statement with the sha256 of every file.
The independent `model_signing` command verifies it too:

    model_signing verify key DIR --signature DIR/model.sig --public_key release-key.pub

Sources: the OpenSSF model signing specification 1.0 and model-signing 1.1.1; DSSE 1.0.0 (secure-systems-lab/dsse).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.lab.error import UserError
from ayllu.lab.integrity import strict_json
from ayllu.lab.store import default_home, user_folder
from ayllu.release.files import contents

SIGNATURE, PUBLIC_KEY = contents.SIGNATURE, contents.PUBLIC_KEY
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"


class BadSignature(Exception):
    """Why a signature does not hold: one sentence."""


def default_key_path() -> Path:
    """Where the user's own key lies: in `$AYLLU_HOME/keys`, or else in `~/.config/ayllu`."""
    named = bool(os.environ.get("AYLLU_HOME"))
    return (default_home() / "keys" if named else user_folder("AYLLU_HOME", ".config", "ayllu")) / "release-key.pem"


def private_key(path: Path | None = None) -> ec.EllipticCurvePrivateKey:
    """The signing key at `path`; without a path the user's own, made on first use and readable by the user only.

    Raises UserError when the file is missing or no P-256 key, and when others may read it.
    """
    if path is None:
        path = default_key_path()
        if not path.exists():
            _create_key(path)
    try:
        if path.stat().st_mode & 0o077:
            raise UserError(f"{path} can be read by other users: run `chmod 600 {path}`")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UserError(f"the signing key {path} cannot be read ({error.strerror}): give another key") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UserError(f"{path} holds no unencrypted private key in PEM form: give another key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UserError(f"{path} is not an elliptic-curve key on P-256: give another key")
    return key


def _create_key(path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp makes a file that only the user can read, and a link is made once, by whoever comes first.
        handle, draft = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    except OSError as error:
        raise UserError(f"no signing key can be kept in {path.parent} ({error.strerror}): set AYLLU_HOME") from None


def public_key(pem: bytes, where: str) -> ec.EllipticCurvePublicKey:
    """The public key in `pem`, read from `where`. Raises BadSignature when it is none on P-256."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise BadSignature(f"{where} holds no public key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadSignature(f"{where} is not an elliptic-curve key on P-256")
    return key


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """`key` as a PEM file."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """sha256 of the PEM form, hexadecimal: the same value that the bundle names as the hint of its key."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def sign(name: str, digests: Mapping[str, str], key: ec.EllipticCurvePrivateKey) -> str:
    """The bundle that signs the files `digests` (path in the folder to sha256) of the model `name`."""
    payload = json.dumps(_statement(name, digests), indent=2).encode()
    signature = key.sign(_pre_authentication(payload), ec.ECDSA(hashes.SHA256()))
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": fingerprint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle) + "\n"


def signed_digests(bundle: str, key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Path to sha256 of the files that `bundle` signs. Raises BadSignature unless `key` made the signature."""
    try:
        envelope = strict_json(bundle)["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        payload_type = envelope["payloadType"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise BadSignature("is not a Sigstore bundle") from None
    try:
        key.verify(signature, _pre_authentication(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise BadSignature("was not made with the key, or what it signs was changed") from None
    try:
        statement = strict_json(payload)
        resources = statement["predicate"]["resources"]
        signed = {str(resource["name"]): str(resource["digest"]) for resource in resources}
        kinds = (payload_type, statement["_type"], statement["predicateType"])
        ((root, _),) = _subjects(statement)
        algorithms = {str(resource.get("algorithm", "sha256")) for resource in resources}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BadSignature("signs something that is not a list of files") from None
    if algorithms - {"sha256"}:
        raise BadSignature(f"names digests by another algorithm ({min(algorithms - {'sha256'})[:40]}) than sha256")
    if kinds != (PAYLOAD_TYPE, STATEMENT_TYPE, PREDICATE_TYPE) or len(signed) != len(resources):
        raise BadSignature("signs something that is not a model in the OpenSSF format")
    if root != _root_digest([str(resource["digest"]) for resource in resources]):
        raise BadSignature("contradicts itself: its files do not give its digest")
    return signed


def signed_name(bundle: str) -> str:
    """What a bundle calls what it signs; to be asked once its signature holds."""
    statement = strict_json(base64.b64decode(strict_json(bundle)["dsseEnvelope"]["payload"]))
    ((_, name),) = _subjects(statement)
    return name


def _subjects(statement: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Digest and name of each thing that a statement is about."""
    return [(str(one["digest"]["sha256"]), str(one["name"])) for one in statement["subject"]]


def _statement(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    ordered = sorted(digests, key=PurePosixPath)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root_digest([digests[path] for path in ordered])}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE],
            },
            "resources": [{"name": path, "algorithm": "sha256", "digest": digests[path]} for path in ordered],
        },
    }


def _root_digest(digests: list[str]) -> str:
    try:
        return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()
    except ValueError:
        raise BadSignature("names a digest that is no hexadecimal number") from None


def _pre_authentication(payload: bytes) -> bytes:
    """What is signed: DSSE's encoding of the type and the payload."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload
