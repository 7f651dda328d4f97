"""The private keys of a repository as files: one a role, and three of root."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.lab.error import UserError
from ayllu.release import sign
from ayllu.release.tiers.repository import ROLES, ROOT_KEYS, Keys


def make_keys(folder: Path) -> Keys:
    """New keys in the new or empty `folder`. UserError where it holds something."""
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose a new folder for the keys")
    roots = [made_or_read(folder / f"root-{number + 1}.pem") for number in range(ROOT_KEYS)]
    return Keys(roots, **{role: made_or_read(folder / f"{role}.pem") for role in ROLES})


def read_keys(folder: Path, roles: Iterable[str] = ROLES) -> Keys:
    """The keys of `roles` in `folder`: others need not be there. UserError where one of these is missing."""
    return Keys([], **{role: sign.private_key(folder / f"{role}.pem") for role in roles})


def made_or_read(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key at `path`, made where there is none, for its user alone to read."""
    if path.exists():
        return sign.private_key(path)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another folder") from None
    return key
