"""The `ayllu release` commands."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

app = cyclopts.App(name="release", help="Check releases: who signed them, and whether they say what they hold.")


@app.command
def verify(
    folder: Path,
    /,
    *,
    key: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Verify a release offline: signature, files, scores, sources and every number on its card.

    Parameters
    ----------
    folder
        The release.
    key
        The publisher's public key, from a place that you trust. Without it the release's own key is used: that shows
        that nothing changed since the signing, but not who signed.
    json
        Print one JSON object.
    """
    from ayllu.lab.error import UserError
    from ayllu.release.verify import verify_release

    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder of a release")
    found = verify_release(folder, key)
    problems = [{"file": problem.file, "reason": problem.reason} for problem in found.problems]
    title = f"{found.name or folder.resolve().name} {found.version or ''}".strip()
    if json:
        value = {
            "verified": found.verified,
            "folder": str(folder),
            "name": found.name,
            "version": found.version,
            "model_digest": found.model_digest,
            "key": found.fingerprint,
            "key_trusted": found.pinned and found.verified,
            "files": found.files,
            "bytes": found.bytes,
            "problems": problems,
        }
        sys.stdout.write(json_module.dumps(value, indent=2, ensure_ascii=False) + "\n")
    elif found.verified:
        sys.stdout.write(f"{title} is verified: {found.files} files, {found.bytes / 1e6:,.1f} MB\n")
        sys.stdout.write(f"signed with the key {found.fingerprint}\n")
        if not found.pinned:
            sys.stdout.write(
                "This is the key inside the release: nothing changed since the signing, but anyone could have signed.\n"
                "Pass --key with the publisher's public key to know who did.\n"
            )
    else:
        sys.stdout.writelines(f"{problem}\n" for problem in found.problems)
        sys.stdout.write(f"{title} is NOT verified\n")
    return 0 if found.verified else 1
