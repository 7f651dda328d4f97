"""What keys have used, by day: kept in a small database, so that a quota outlives the server."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ayllu.lab.progress import say

TABLE = """
CREATE TABLE IF NOT EXISTS usage (
  key TEXT NOT NULL, day INTEGER NOT NULL, requests INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (key, day)
) WITHOUT ROWID
"""
ADD = """
INSERT INTO usage VALUES (?, ?, ?, ?)
ON CONFLICT (key, day) DO UPDATE SET requests = requests + excluded.requests, tokens = tokens + excluded.tokens
"""


class UsageFile:
    """Counts of requests and tokens by key and day (days since 1970, UTC).

    Where the home cannot be written to they are kept in memory only, which is said once.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "access" / "usage.sqlite"
        self._database: sqlite3.Connection | None = None
        self._broken = False

    def used(self, key: str, day: int) -> int:
        """Tokens of a key on a day."""
        if not self.path.exists() or (database := self._open()) is None:
            return 0
        row = database.execute("SELECT tokens FROM usage WHERE key = ? AND day = ?", (key, day)).fetchone()
        return int(row[0]) if row else 0

    def days(self, key: str) -> dict[str, dict[str, int]]:
        """Requests and tokens of a key by date."""
        if not self.path.exists() or (database := self._open()) is None:
            return {}
        rows = database.execute("SELECT day, requests, tokens FROM usage WHERE key = ? ORDER BY day", (key,))
        return {_date(day): {"requests": requests, "tokens": tokens} for day, requests, tokens in rows}

    def add(self, counts: Mapping[tuple[str, int], tuple[int, int]]) -> None:
        """Add requests and tokens by key and day."""
        if not counts or (database := self._open()) is None:
            return
        rows = [(key, day, requests, tokens) for (key, day), (requests, tokens) in counts.items()]
        try:
            with database:
                database.executemany(ADD, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection | None:
        if self._database is None and not self._broken:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
                self._database = sqlite3.connect(self.path, timeout=2, check_same_thread=False)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.execute(TABLE)
            except (OSError, sqlite3.Error) as error:
                self._give_up(error)
        return self._database

    def _give_up(self, error: Exception) -> None:
        if not self._broken:
            self._broken = True
            say(
                f"{self.path} cannot be written ({error}): what keys use is counted until the server ends, and not kept"
            )
        self.close()


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
