"""The schema, and how each of its versions becomes the next: in one transaction, once, whichever server is first."""

from __future__ import annotations

from collections.abc import Sequence

from ayllu.serve.state.database import Database, Transaction

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE servers (
             id TEXT PRIMARY KEY,
             alive_until BIGINT NOT NULL)""",
        """CREATE TABLE conversations (
             id TEXT PRIMARY KEY,
             owner TEXT NOT NULL,
             created BIGINT NOT NULL,
             metadata TEXT NOT NULL)""",
        """CREATE TABLE conversation_items (
             parent TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
             place BIGINT NOT NULL,
             id TEXT NOT NULL,
             body TEXT NOT NULL,
             PRIMARY KEY (parent, place))""",
        "CREATE INDEX conversation_items_by_id ON conversation_items (id)",
        """CREATE TABLE responses (
             id TEXT PRIMARY KEY,
             owner TEXT NOT NULL,
             created BIGINT NOT NULL,
             expires BIGINT,
             status TEXT NOT NULL,
             background BIGINT NOT NULL,
             previous TEXT,
             conversation TEXT,
             conversation_place BIGINT NOT NULL,
             server TEXT NOT NULL,
             request TEXT NOT NULL,
             body TEXT NOT NULL,
             events {blob})""",
        "CREATE INDEX responses_by_end ON responses (expires)",
        "CREATE INDEX responses_open ON responses (server) WHERE status IN ('queued', 'in_progress')",
        """CREATE TABLE response_items (
             parent TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
             output BIGINT NOT NULL,
             place BIGINT NOT NULL,
             id TEXT NOT NULL,
             body TEXT NOT NULL,
             PRIMARY KEY (parent, output, place))""",
        "CREATE INDEX response_items_by_id ON response_items (id)",
    ),
)
"""What makes version n + 1 of version n. A published one never changes; `{blob}` is the type for bytes."""


class NewerSchema(Exception):
    """The data was written by a newer version of this program."""


def migrate(database: Database, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> int:
    """Bring the schema to the newest version; gives the version that it had.

    Raises NewerSchema where it has one that this program does not know, and changes nothing then.
    """
    with database.writing() as transaction:
        database.lock_schema(transaction)
        transaction.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        found = _version(transaction)
        if found > len(migrations):
            raise NewerSchema
        for statements in migrations[found:]:
            for statement in statements:
                transaction.execute(statement.replace("{blob}", database.blob))
        if found < len(migrations):
            transaction.execute("DELETE FROM schema_version")
            transaction.execute("INSERT INTO schema_version (version) VALUES (?)", [len(migrations)])
    return found


def _version(transaction: Transaction) -> int:
    rows = transaction.rows("SELECT version FROM schema_version")
    return int(rows[0][0]) if rows else 0
