"""Where the state lies: rights, versions of the schema, what cannot be used, and a process that is killed."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ayllu.lab.error import UserError
from ayllu.serve.state.choose import FILE, open_store
from ayllu.serve.state.database import Database, StateUnavailable
from ayllu.serve.state.migrations import MIGRATIONS, NewerSchema, migrate
from ayllu.serve.state.sqlite import SqliteDatabase
from support.parts import need_module

Opener = Callable[[], Database]
NEXT = (*MIGRATIONS, ("CREATE TABLE more (id TEXT)", "INSERT INTO more (id) SELECT id FROM conversations"))


def tables(database: Database, name: str) -> int:
    with database.reading() as transaction:
        return int(transaction.rows(f"SELECT COUNT(*) FROM {name}")[0][0])


def test_an_older_schema_becomes_the_new_one_with_its_data_once(opener: Opener) -> None:
    database = opener()
    assert migrate(database) == 0
    with database.writing() as transaction:
        transaction.execute("INSERT INTO conversations (id, owner, created, metadata) VALUES ('c', '', 1, '{}')")
    others = [opener() for _ in range(4)]
    found: list[int] = []
    threads = [threading.Thread(target=lambda one=one: found.append(migrate(one, NEXT))) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1, 2, 2, 2]
    assert tables(database, "more") == 1
    with pytest.raises(NewerSchema):
        migrate(database)


def test_a_migration_that_fails_leaves_the_version_before(opener: Opener) -> None:
    database = opener()
    migrate(database)
    with pytest.raises(StateUnavailable):
        migrate(database, (*NEXT[:-1], ("CREATE TABLE more (id TEXT)", "CREATE TABLE conversations (id TEXT)")))
    assert migrate(database) == 1
    with pytest.raises(StateUnavailable):
        tables(database, "more")


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    store = open_store(None, home=tmp_path / "home")
    assert store is not None
    store.create_conversation("c", 1, {}, [])
    files = list((tmp_path / "home").iterdir())
    assert {path.name for path in files} >= {FILE, f"{FILE}-wal"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    store.close()
    with sqlite3.connect(tmp_path / "home" / FILE) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(UserError, match=r"text cannot be used \(file is not a database\); give another place"):
        open_store(str(tmp_path / "text"), home=tmp_path)
    with pytest.raises(UserError, match="cannot be used"):
        open_store(str(tmp_path), home=tmp_path)
    with pytest.raises(UserError, match=r"mysql://here/x is none; give a file, postgresql://"):
        open_store("mysql://me:secret@here/x", home=tmp_path)
    with pytest.raises(UserError, match="number of days"):
        open_store(None, home=tmp_path, keep_days=-1)
    need_module("psycopg", "the package psycopg is not installed")
    with pytest.raises(UserError, match=r"postgresql://127\.0\.0\.1:1/x cannot be used") as caught:
        open_store("postgresql://me:secret@127.0.0.1:1/x", home=tmp_path)
    assert "secret" not in str(caught.value)
    assert open_store("none", home=tmp_path) is None
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_home_that_can_only_be_read_keeps_nothing_and_says_so(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Any, flags: int, *more: Any) -> int:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(os, "open", refuse)
    assert open_store(None, home=tmp_path) is None
    said = capsys.readouterr().err
    assert os.strerror(code) in said and "are not kept" in said and said.count("\n") == 1
    with pytest.raises(UserError, match="cannot be used"):
        open_store(str(tmp_path / "mine"), home=tmp_path)


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / FILE)
    migrate(database, NEXT)
    database.close()
    with pytest.raises(UserError, match="written by a newer Ayllu"):
        open_store(None, home=tmp_path)


def test_postgres_goes_on_after_it_has_ended_our_connections(postgres_url: str) -> None:
    import psycopg

    from ayllu.serve.state.postgres import PostgresDatabase

    database = PostgresDatabase(postgres_url)
    with database.reading() as transaction:
        ours = transaction.rows("SELECT pg_backend_pid()")[0][0]
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [ours])
    with database.writing() as transaction:
        assert transaction.rows("SELECT pg_backend_pid()")[0][0] != ours
    database.close()


def test_nothing_acknowledged_is_lost_by_a_hundred_kills(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "support.programs.killed_writer", str(tmp_path / FILE), "100"]
    tests = Path(__file__).parents[2]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tests, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] == 100 and told["acknowledged"] > 100
    assert told["lost"] == told["torn"] == []
    assert told["integrity"] == "ok"
