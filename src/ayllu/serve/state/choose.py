"""Which database a server keeps its state in."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.serve.state.database import Database, StateReadOnly, StateUnavailable
from ayllu.serve.state.migrations import NewerSchema, migrate
from ayllu.serve.state.sqlite import SqliteDatabase
from ayllu.serve.state.store import Store

FILE = "state.sqlite"
"""Its name in the home."""


def open_store(state: str | None, *, home: Path, keep_days: float = 30) -> Store | None:
    """The store that `state` names: a file, a URL of PostgreSQL, `none`, or, where nothing is given, the home's file.

    Responses are kept for `keep_days`, for ever where that is 0. None where nothing is kept: for `none`, and where the
    home can only be read, which is said. Raises UserError where the place cannot be used.
    """
    if not 0 <= keep_days < 100_000:
        raise UserError(f"responses cannot be kept for {keep_days:g} days; give a number of days, or 0 for ever")
    if state == "none":
        return None
    try:
        return _opened(state, home, keep_days)
    except StateReadOnly as error:
        # Nobody asked for it by name, and models can be served from a home that can only be read.
        say(f"{home} cannot be written to ({error}): responses and conversations are not kept; see --state")
        return None


def open_home_store(home: Path) -> Store:
    """The home's store, for what cannot do without. Raises UserError where it cannot be used."""
    try:
        return _opened(None, home, keep_days=30)
    except StateReadOnly as error:
        raise UserError(f"cannot write to {home} ({error}); choose another folder with --home") from None


def _opened(state: str | None, home: Path, keep_days: float) -> Store:
    """Raises StateReadOnly where nothing is named and the home can only be read, and UserError."""
    place = state or str(home / FILE)
    try:
        database = _database(place)
        place = database.place
        migrate(database)
    except StateUnavailable as error:
        if state is None and isinstance(error, StateReadOnly):
            raise
        raise UserError(
            f"the state in {_shown(place)} cannot be used ({error}); give another place by --state"
        ) from None
    except NewerSchema:
        raise UserError(
            f"the state in {_shown(place)} was written by a newer Ayllu; update this one, or give another by --state"
        ) from None
    return Store(database, keep_seconds=int(keep_days * 86_400) or None)


def _database(place: str) -> Database:
    scheme = urlsplit(place).scheme
    if scheme in ("postgresql", "postgres"):
        try:
            from ayllu.serve.state.postgres import PostgresDatabase

            return PostgresDatabase(place)
        except ImportError:
            raise UserError("state in PostgreSQL needs psycopg: pip install 'ayllu[postgres]'") from None
    if "://" in place and scheme not in ("sqlite", "file"):
        raise UserError(f"--state {_shown(place)} is none; give a file, postgresql://HOST/DATABASE, or none")
    return SqliteDatabase(Path(place.removeprefix("sqlite://").removeprefix("file://")).expanduser())


def _shown(place: str) -> str:
    """`place` without the password that a URL may have."""
    if "://" not in place:
        return place
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
