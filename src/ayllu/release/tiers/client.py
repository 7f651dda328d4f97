"""What a user of a tier has: the root that was trusted first, and what was seen since, so that nobody can go back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater
from tuf.ngclient.config import UpdaterConfig

from ayllu.lab.error import UserError
from ayllu.release import sign
from ayllu.release.tiers.repository import TIERS, Tier, target_path
from ayllu.release.verify import verify_release


def check_release(repository: Path, trusted: Path, release: Path, tier: str) -> dict[str, Any]:
    """`check` for the release in a folder, which must verify. UserError where it does not."""
    found = verify_release(release)
    if found.problems:
        raise UserError(f"{release} is not verified: {found.problems[0]}")
    return check(repository, trusted, release, tier_named(tier), name=str(found.name), version=str(found.version))


def tier_named(name: str) -> Tier:
    """The tier of that name. UserError for another."""
    for tier in TIERS:
        if tier == name:
            return tier
    raise UserError(f"{name!r} is no tier: choose {', '.join(TIERS)}")


class _Folder(FetcherInterface):
    """A repository in a folder, or on whatever is mounted there."""

    def _fetch(self, url: str) -> Any:
        path = Path(url.removeprefix("file://"))
        if not path.is_file():
            raise DownloadHTTPError(f"{path} is not there", 404)
        yield path.read_bytes()


def check(repository: Path, trusted: Path, release: Path, tier: Tier, *, name: str, version: str) -> dict[str, Any]:
    """What `tier` says of the `release`; raises UserError where it does not offer it, or is not to be believed.

    `trusted` is the user's own folder: `root.json` from a place that is trusted, and the metadata seen before.
    """
    if not (trusted / "root.json").is_file():
        raise UserError(f"{trusted} holds no root.json: take the first from a place that you trust")
    base = f"file://{repository.resolve()}/"
    try:
        updater = Updater(
            metadata_dir=str(trusted),
            metadata_base_url=base,
            fetcher=_Folder(),
            config=UpdaterConfig(prefix_targets_with_hash=False),
            bootstrap=(trusted / "root.json").read_bytes(),
        )
        updater.refresh()
        target = updater.get_targetinfo(target_path(tier, name, version))
    except (RepositoryError, DownloadError, OSError, ValueError) as error:
        raise UserError(f"{repository} is not to be believed: {' '.join(str(error).split())}") from None
    if target is None:
        raise UserError(f"{name} {version} is not offered to {tier}")
    found = hashlib.sha256((release / sign.SIGNATURE).read_bytes()).hexdigest()
    if target.hashes.get("sha256") != found:
        raise UserError(
            f"{release} is not the {name} {version} that is offered to {tier}: its signature file is another"
        )
    return dict(target.custom or {})
