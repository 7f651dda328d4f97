"""Archives for tests: from the user's cache, fetched when missing."""

from pathlib import Path

from ayllu.data.archive import Archive, default_cache, fetch, sha256_of
from ayllu.lab.error import UserError
from support.parts import need


def fetched(archive: Archive) -> Path:
    """The path of `archive`. Needs a registry that answers and still has it; any other fault is a failure everywhere.

    A file with another digest, or a client that brings something else, is what these tests exist for.
    """
    try:
        return fetch(archive, default_cache())
    except UserError as error:
        need(not str(error).startswith("cannot fetch "), str(error))
        raise


def cache_with(*archives: Archive) -> Path:
    """The cache that holds `archives`."""
    for archive in archives:
        fetched(archive)
    return default_cache()


def fetch_and_digest(archive: Archive, cache: Path) -> str:
    """For a process of its own, which can import this module but no test."""
    return sha256_of(fetch(archive, cache))
