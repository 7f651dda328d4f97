"""The store over each database that it can have: the same tests for all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ayllu.serve.state.database import Database
from ayllu.serve.state.sqlite import SqliteDatabase
from support.serving.postgres import postgres

Opener = Callable[[], Database]
SCHEMAS = itertools.count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens one and the same empty database, as often as it is called."""
    opened: list[Database] = []
    if request.param == "postgres":
        import psycopg

        from ayllu.serve.state.postgres import PostgresDatabase

        url, schema = request.getfixturevalue("postgres_url"), f"s{next(SCHEMAS)}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        url += f"&options=-csearch_path%3D{schema}"

        def make() -> Database:
            return PostgresDatabase(url)
    else:

        def make() -> Database:
            return SqliteDatabase(tmp_path / "state.sqlite")

    def open_one() -> Database:
        opened.append(make())
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()
