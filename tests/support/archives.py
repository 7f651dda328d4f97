"""Archives for tests: from the user's cache, fetched when missing, skipped where a registry is out of reach."""

from pathlib import Path

import pytest

from ayllu.data.archive import Archive, default_cache, fetch, sha256_of
from ayllu.lab.error import UserError


def cache_with(*archives: Archive) -> Path:
    """The cache that holds `archives`. Debian's mirrors drop old versions, so a missing one of those only skips."""
    for archive in archives:
        try:
            fetch(archive, default_cache())
        except UserError as error:
            if archive.registry == "pypi":
                raise
            pytest.skip(str(error))
    return default_cache()


def fetch_and_digest(archive: Archive, cache: Path) -> str:
    """For a process of its own, which can import this module but no test."""
    return sha256_of(fetch(archive, cache))
