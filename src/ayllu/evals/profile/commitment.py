"""Items that nobody can have trained on, and nobody can have picked: commit to a seed first, reveal it afterwards.

Before a model is trained somebody draws a secret and tells its digest. After training the items are drawn from the
secret, which the profile then states: whoever knows the digest checks that it is the one of before.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from ayllu.lab.error import UserError

SECRET = re.compile(r"[0-9a-f]{64}")


def commitment_of(secret: str) -> str:
    """What is told of a secret before: the sha256 of its text, 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def commit(path: Path) -> str:
    """Draw a secret into the new file `path`, which only its owner can read; its commitment.

    Raises UserError where the file is there already, or cannot be written.
    """
    secret = secrets.token_hex(32)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(secret + "\n")
    except FileExistsError:
        raise UserError(f"{path} is there already: a secret that was committed to is not drawn again") from None
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror or error}): choose another place") from error
    return commitment_of(secret)


def read_secret(path: Path) -> str:
    """The secret of a file that `commit` wrote. Raises UserError where it is not one."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: give the file that `ayllu eval commit` wrote") from error
    if not SECRET.fullmatch(secret):
        raise UserError(
            f"{path} holds no secret of 64 hexadecimal digits: give the file that `ayllu eval commit` wrote"
        )
    return secret
