"""The store: responses with what went into them, and what is done with them as one step.

Everything that a method has given back is on disk. Times are in seconds since 1970.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ayllu.serve.state.conversations import ConversationStore, latest_place, touch
from ayllu.serve.state.database import Database, Row, Transaction
from ayllu.serve.state.erase import erase
from ayllu.serve.state.items import Item, Missing, Page, insert_items, items_of, page_of, write

ALIVE_SECONDS = 30
"""How long a server counts as alive after it has said so."""
MOST_LINKS = 10_000
"""Responses that one may stand on."""

OPEN = ("queued", "in_progress")
_FIELDS = "id, owner, created, status, background, previous, conversation, conversation_place, request, body"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptResponse:
    """A response as it is kept."""

    id: str
    owner: str = ""
    """Whose it is: nobody else is told of it."""
    created: int
    status: str
    background: bool = False
    previous: str | None = None
    """The response that it goes on from."""
    conversation: str | None = None
    conversation_place: int = 0
    """How far the conversation had come when it began."""
    request: dict[str, Any] = field(default_factory=dict)
    """What was asked, so that it can be computed again."""
    body: dict[str, Any] = field(default_factory=dict)
    """The resource of the API, but for its output."""


class Locked(Exception):
    """Another response of the same conversation is being computed."""


class Store(ConversationStore):
    """What is kept in a database; each method is one transaction and may be called from any thread."""

    def __init__(
        self, database: Database, *, keep_seconds: int | None = 30 * 86_400, now: Callable[[], float] = time.time
    ) -> None:
        """`keep_seconds`: how long a response is kept after the last one that stands on it; None for ever."""
        super().__init__(database)
        self._keep, self._now = keep_seconds, now

    def begin(self, kept: KeptResponse, given: Sequence[Item], *, server: str) -> None:
        """Keep a response that `server` is about to compute, with the items that were `given`.

        Raises Missing where its conversation is gone, and Locked where that is in use.
        """
        with self._database.writing() as transaction:
            self._refresh(transaction, server)
            if kept.conversation is not None:
                self._lock_conversation(transaction, kept.conversation)
            expires = None if self._keep is None else int(self._now()) + self._keep
            transaction.execute(
                f"INSERT INTO responses ({_FIELDS}, expires, server) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                [
                    kept.id,
                    kept.owner,
                    kept.created,
                    kept.status,
                    int(kept.background),
                    kept.previous,
                    kept.conversation,
                    kept.conversation_place,
                    write(kept.request),
                    write(kept.body),
                    expires,
                    server,
                ],
            )
            insert_items(transaction, "response_items", kept.id, given, output=0)
            if kept.previous is not None and expires is not None:
                # What a kept response stands on is kept as long as itself.
                ids = [str(row[0]) for row in _links(transaction, kept.previous)]
                transaction.execute_all(
                    "UPDATE responses SET expires = ? WHERE id = ? AND expires < ?",
                    [(expires, i, expires) for i in ids],
                )

    def finish(
        self,
        kept: KeptResponse,
        output: Sequence[Item],
        *,
        events: bytes | None = None,
        said: Sequence[Item] = (),
    ) -> bool:
        """Keep how a response has ended, and add what was `said` to its conversation.

        False, and nothing is changed, where it was cancelled or deleted meanwhile.
        """
        with self._database.writing() as transaction:
            changed = transaction.execute(
                "UPDATE responses SET status = ?, body = ?, events = ?"
                " WHERE id = ? AND status IN ('queued', 'in_progress')",
                [kept.status, write(kept.body), events, kept.id],
            )
            if not changed:
                return False
            insert_items(transaction, "response_items", kept.id, output, output=1)
            if kept.conversation is not None and said and touch(transaction, kept.conversation):
                place = latest_place(transaction, kept.conversation)
                insert_items(transaction, "conversation_items", kept.conversation, said, first=place + 1)
        return True

    def start(self, name: str) -> None:
        """Say that the computing of a queued response has begun."""
        with self._database.writing() as transaction:
            transaction.execute(
                "UPDATE responses SET status = 'in_progress' WHERE id = ? AND status = 'queued'", [name]
            )

    def response(self, name: str, *, owner: str = "") -> tuple[KeptResponse, list[Item]] | None:
        """A response and its output; None where its owner has none of that name."""
        with self._database.reading() as transaction:
            rows = transaction.rows(
                f"SELECT {_FIELDS} FROM responses WHERE id = ? AND owner = ? AND (expires IS NULL OR expires > ?)",
                [name, owner, int(self._now())],
            )
            if not rows:
                return None
            return _kept(rows[0]), items_of(transaction, "response_items", name, output=1)

    def events(self, name: str) -> bytes | None:
        """The events that were sent of a response, where they were kept."""
        with self._database.reading() as transaction:
            rows = transaction.rows("SELECT events FROM responses WHERE id = ?", [name])
            return bytes(rows[0][0]) if rows and rows[0][0] is not None else None

    def input_page(self, name: str, page: Page) -> tuple[list[Item], bool]:
        """Some of the items that were given to a response, and whether there are more; Missing without `page.after`."""
        with self._database.reading() as transaction:
            return page_of(transaction, "response_items", name, page, output=0)

    def context(self, name: str, *, owner: str = "") -> list[Item]:
        """All that was said up to the end of a response; Missing names the response of the chain that is not there."""
        with self._database.reading() as transaction:
            links = _links(transaction, name)
            if not links or links[0][3] != owner or (links[0][2] is not None and links[0][2] <= int(self._now())):
                raise Missing(name)
            first, before = links[-1][0], links[-1][1]
            if before is not None:
                raise Missing(str(before))
            said: list[Item] = []
            rows = transaction.rows("SELECT conversation, conversation_place FROM responses WHERE id = ?", [first])
            if rows[0][0] is not None:
                said += items_of(transaction, "conversation_items", rows[0][0], until=rows[0][1])
            for link in reversed(links):
                said += items_of(transaction, "response_items", link[0], output=0)
                said += items_of(transaction, "response_items", link[0], output=1)
            return said

    def cancel(self, name: str) -> str | None:
        """Cancel a response that is not at its end; gives the status that it had, None where it is not there."""
        with self._database.writing() as transaction:
            rows = transaction.rows("SELECT status, body FROM responses WHERE id = ?", [name])
            if not rows:
                return None
            status, body = str(rows[0][0]), json.loads(rows[0][1])
            if status in OPEN:
                transaction.execute(
                    "UPDATE responses SET status = 'cancelled', body = ?"
                    " WHERE id = ? AND status IN ('queued', 'in_progress')",
                    [write({**body, "status": "cancelled"}), name],
                )
            return status

    def delete(self, name: str) -> bool:
        """Forget a response and what went into it; whether it was there."""
        with self._database.writing() as transaction:
            return transaction.execute("DELETE FROM responses WHERE id = ?", [name]) > 0

    def item(self, name: str, *, owner: str = "") -> Item | None:
        """An item of any response or conversation of an owner, by its id."""
        with self._database.reading() as transaction:
            for items, parents in (("response_items", "responses"), ("conversation_items", "conversations")):
                rows = transaction.rows(
                    f"SELECT i.body FROM {items} i JOIN {parents} p ON p.id = i.parent"
                    " WHERE i.id = ? AND p.owner = ? LIMIT 1",
                    [name, owner],
                )
                if rows:
                    return dict(json.loads(rows[0][0]))
        return None

    def beat(self, server: str, computing: Collection[str]) -> set[str]:
        """Say that `server` is alive; gives those of what it is `computing` that nobody wants any more."""
        with self._database.writing() as transaction:
            self._refresh(transaction, server, at_once=True)
            rows = transaction.rows(
                "SELECT id FROM responses WHERE server = ? AND status IN ('queued', 'in_progress')", [server]
            )
        return set(computing) - {str(row[0]) for row in rows}

    def adopt(self, server: str) -> list[tuple[KeptResponse, list[Item]]]:
        """Take over what servers that are no more were computing, with what was given to it.

        Only what runs in the background is taken over: of the rest the clients are gone too, and it has failed.
        """
        with self._database.reading() as transaction:
            if not self._left(transaction, server):
                return []
        with self._database.writing() as transaction:
            self._refresh(transaction, server)
            taken = []
            for kept in self._left(transaction, server):
                if kept.background:
                    transaction.execute(
                        "UPDATE responses SET server = ?, status = 'queued' WHERE id = ?", [server, kept.id]
                    )
                    taken.append((kept, items_of(transaction, "response_items", kept.id, output=0)))
                else:
                    transaction.execute(
                        "UPDATE responses SET status = 'failed', body = ? WHERE id = ?",
                        [write({**kept.body, "status": "failed", "error": LOST}), kept.id],
                    )
            transaction.execute("DELETE FROM servers WHERE alive_until < ? AND id <> ?", [int(self._now()), server])
        return taken

    def leave(self, server: str) -> None:
        """Say that `server` ends, so that others take over at once."""
        with self._database.writing() as transaction:
            transaction.execute("DELETE FROM servers WHERE id = ?", [server])

    def expire(self) -> int:
        """Forget the responses whose time is over; gives how many."""
        with self._database.writing() as transaction:
            return transaction.execute(
                "DELETE FROM responses WHERE expires <= ? AND status NOT IN ('queued', 'in_progress')",
                [int(self._now())],
            )

    def erase(
        self, texts: Collection[str], turns: Mapping[tuple[str, str], Collection[str]] | None = None
    ) -> tuple[int, bool]:
        """Erase `texts` from all that was said, and all that came of some turns (`ayllu.serve.state.erase`).

        Gives how many rows were changed, and whether nothing is left in the database's files.
        """
        return erase(self._database, texts, turns)

    def close(self) -> None:
        """End all connections."""
        self._database.close()

    def _left(self, transaction: Transaction, server: str) -> list[KeptResponse]:
        """What no living server computes and this one has not begun."""
        rows = transaction.rows(
            f"SELECT {_FIELDS} FROM responses WHERE status IN ('queued', 'in_progress') AND server <> ?"
            " AND server NOT IN (SELECT id FROM servers WHERE alive_until >= ?) ORDER BY created, id",
            [server, int(self._now())],
        )
        return [_kept(row) for row in rows]

    def _refresh(self, transaction: Transaction, server: str, *, at_once: bool = False) -> None:
        """Let `server` count as alive from now on, without a write for each response."""
        now = int(self._now())
        rows = transaction.rows("SELECT alive_until FROM servers WHERE id = ?", [server])
        if not rows:
            # Several answers may be its first.
            transaction.execute(
                "INSERT INTO servers (id, alive_until) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until",
                [server, now + ALIVE_SECONDS],
            )
        elif at_once or rows[0][0] < now + ALIVE_SECONDS // 2:
            transaction.execute("UPDATE servers SET alive_until = ? WHERE id = ?", [now + ALIVE_SECONDS, server])

    def _lock_conversation(self, transaction: Transaction, name: str) -> None:
        if not touch(transaction, name):
            raise Missing(name)
        if transaction.rows(
            "SELECT 1 FROM responses WHERE conversation = ? AND status IN ('queued', 'in_progress')"
            " AND server IN (SELECT id FROM servers WHERE alive_until >= ?) LIMIT 1",
            [name, int(self._now())],
        ):
            raise Locked


LOST = {"code": "server_error", "message": "the server ended before this response was complete"}
"""The error of a response whose server is gone."""


def _links(transaction: Transaction, name: str) -> list[Row]:
    """The chain of responses that ends with `name`, from there back: (id, the one before, when it goes, whose)."""
    return transaction.rows(
        "WITH RECURSIVE chain (id, previous, expires, owner, depth) AS ("
        " SELECT id, previous, expires, owner, 0 FROM responses WHERE id = ?"
        " UNION ALL SELECT r.id, r.previous, r.expires, r.owner, chain.depth + 1"
        " FROM responses r JOIN chain ON r.id = chain.previous WHERE chain.depth < ?)"
        " SELECT id, previous, expires, owner FROM chain ORDER BY depth",
        [name, MOST_LINKS],
    )


def _kept(row: Row) -> KeptResponse:
    name, owner, created, status, background, previous, conversation, place, request, body = row
    return KeptResponse(
        id=name,
        owner=owner,
        created=created,
        status=status,
        background=bool(background),
        previous=previous,
        conversation=conversation,
        conversation_place=place,
        request=json.loads(request),
        body=json.loads(body),
    )
