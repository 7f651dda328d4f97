"""Whether a release was taken back, asked of every folder that is about to be used."""

from __future__ import annotations

import json
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.release.files.contents import MANIFEST, PUBLIC_KEY
from ayllu.release.files.listing import read_small


def why_revoked(model: Path) -> str | None:
    """Why the release in the folder `model` was taken back; None where it was not, or is no release.

    Of a file in such a folder, a GGUF file above all, it is asked too.
    """
    try:
        model = model.absolute().parent if model.is_file() else model
        pem = read_small(model / PUBLIC_KEY, 1 << 16)
    except OSError:
        return None  # no release; to import what reads signatures takes longer than all the rest
    from ayllu.release import sign
    from ayllu.release.trust.revocation import known

    try:
        own = sign.fingerprint(sign.public_key(pem, PUBLIC_KEY))
        manifest = json.loads(read_small(model / MANIFEST))
        found, digest = known(own), manifest.get("model_digest")
    except (OSError, ValueError, AttributeError, RecursionError, sign.BadSignature):
        return None
    return found.against(digest if isinstance(digest, str) else None) if found else None


def refuse_revoked(model: Path) -> None:
    """Raise UserError where `model` is the folder of a release that was taken back."""
    if reason := why_revoked(model):
        raise UserError(f"{model} is not used, for {reason}; take another release")
