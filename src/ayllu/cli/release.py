"""The `ayllu release` commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cyclopts

from ayllu.cli.options import Json, print_json, print_lines

if TYPE_CHECKING:
    from ayllu.release.verify import Verification

app = cyclopts.App(name="release", help="Check releases: who signed them, and whether they say what they hold.")


@app.command
def verify(folder: Path, /, *, key: Path | None = None, json: Json = False) -> int:
    """Verify a release offline: signature, files, scores, sources and every number on its card.

    Parameters
    ----------
    folder
        The release.
    key
        The publisher's public key, from a place that you trust. Without it the release's own key is used: that shows
        that nothing changed since the signing, but not who signed.
    """
    from ayllu.release.verify import verify_release

    found = verify_release(folder, key)
    if json:
        print_json(found.as_json(), indent=2)
    else:
        print_lines(_told(found))
    return 0 if found.verified else 1


def _told(found: Verification) -> Iterator[str]:
    if not found.verified:
        yield from map(str, found.problems)
        yield f"{found.title} is NOT verified"
        return
    yield f"{found.title} is verified: {found.files} files, {found.bytes / 1e6:,.1f} MB"
    yield f"signed with the key {found.fingerprint}"
    if not found.pinned:
        yield "This is the key inside the release: nothing changed since the signing, but anyone could have signed."
        yield "Pass --key with the publisher's public key to know who did."
