"""Memories: kept in a file of the home, told to the model where they fit the request, erased from everywhere."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ayllu.assistant.approvals.book import ApprovalBook
from ayllu.assistant.memory.words import FILE, Turns, forget, keep
from ayllu.assistant.memory.words import SCHEMA as WORDS_SCHEMA
from ayllu.assistant.session import Session, text_of
from ayllu.assistant.tools.tool import Citation, RunnableTool, ToolError, ToolResult, tool_of
from ayllu.assistant.tools.trust import TRUST
from ayllu.assistant.tools.words import told
from ayllu.lab.error import UserError
from ayllu.lab.visible import valid_text
from ayllu.serve.state.database import StateReadOnly, StateUnavailable
from ayllu.serve.state.sqlite import SqliteDatabase
from ayllu.serve.state.store import Store

TOLD = 5
"""Memories that a model is told at most."""
_COMMON = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "on",
        "at",
        "for",
        "and",
        "or",
        "is",
        "are",
        "was",
        "am",
        "be",
        "my",
        "me",
        "i",
        "you",
        "your",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "do",
        "does",
        "did",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "how",
        "why",
        "can",
        "could",
        "will",
        "would",
        "please",
        "remember",
        "recall",
        "forget",
        "about",
        "with",
        "from",
        "have",
        "has",
        "had",
        "know",
        "tell",
        "say",
        "said",
        "called",
        "name's",
    ]
)
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS memories (
         id TEXT PRIMARY KEY, text TEXT NOT NULL, made BIGINT NOT NULL, conversation TEXT NOT NULL,
         message TEXT NOT NULL, untrusted BIGINT NOT NULL, edited BIGINT)""",
    """CREATE TABLE IF NOT EXISTS uses (
         memory TEXT NOT NULL REFERENCES memories (id) ON DELETE CASCADE, conversation TEXT NOT NULL,
         message TEXT NOT NULL, used BIGINT NOT NULL, PRIMARY KEY (memory, conversation, message))""",
    *WORDS_SCHEMA,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Something remembered."""

    id: str
    text: str
    made: int
    """Seconds since 1970; so are `edited` and `last_used`."""
    conversation: str
    message: str
    """The id of the user's message that it came from; empty where the user wrote it by a command."""
    untrusted: bool
    """Whether text that others wrote was in sight when it was made, which the user then allowed."""
    edited: int | None = None
    uses: int = 0
    last_used: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What erasing has done."""

    memories: int
    rows: int
    """Items and answers that lost words."""
    approvals: int
    traced: int
    """Texts of traces, which hold nothing but salted digests of them."""
    complete: bool
    """Whether nothing is left in the databases' files: not while another process reads them."""


class Memories:
    """The memories of one home."""

    def __init__(self, home: Path, *, now: Callable[[], float] = time.time) -> None:
        """UserError where the file cannot be used."""
        self._home, self._now = home, now
        try:
            self._database = SqliteDatabase(home / FILE)
            with self._database.writing() as transaction:
                for statement in _SCHEMA:
                    transaction.execute(statement)
        except StateReadOnly as error:
            raise UserError(f"cannot write to {home} ({error}); choose another folder with --home") from None
        except StateUnavailable as error:
            raise UserError(f"{home / FILE} cannot be used ({error}); mend or delete it") from None

    def add(self, text: str, *, conversation: str = "", message: str = "", untrusted: bool = False) -> Memory:
        """Remember something; UserError for an empty text."""
        plain = " ".join(valid_text(text).split())
        if not plain:
            raise UserError("there is nothing to remember; give some words")
        made = Memory(
            id=f"mem_{uuid.uuid4().hex[:12]}",
            text=plain,
            made=int(self._now()),
            conversation=conversation,
            message=message,
            untrusted=untrusted,
        )
        with self._database.writing() as transaction:
            transaction.execute(
                "INSERT INTO memories (id, text, made, conversation, message, untrusted) VALUES (?, ?, ?, ?, ?, ?)",
                [made.id, made.text, made.made, conversation, message, int(untrusted)],
            )
        return made

    def all(self) -> list[Memory]:
        """All of them, the oldest first."""
        with self._database.reading() as transaction:
            rows = transaction.rows(
                "SELECT m.id, m.text, m.made, m.conversation, m.message, m.untrusted, m.edited, COUNT(u.memory),"
                " MAX(u.used) FROM memories m LEFT JOIN uses u ON u.memory = m.id"
                " GROUP BY m.id ORDER BY m.made, m.rowid"
            )
        names = ("id", "text", "made", "conversation", "message", "untrusted", "edited", "uses", "last_used")
        return [Memory(**{**dict(zip(names, row, strict=True)), "untrusted": bool(row[5])}) for row in rows]

    def find(self, words: str, most: int = TOLD) -> list[Memory]:
        """Those that share most words with `words`; none where they share none."""
        wanted = _words(words)
        scored = [(len(wanted & _words(memory.text)), memory) for memory in self.all()]
        found = sorted((entry for entry in scored if entry[0]), key=lambda entry: -entry[0])
        return [memory for _, memory in found[:most]]

    def used(self, memories: Sequence[Memory], *, conversation: str, message: str) -> None:
        """Keep that memories were told to a model, for the answer to a message."""
        with self._database.writing() as transaction:
            transaction.execute_all(
                "INSERT OR IGNORE INTO uses (memory, conversation, message, used) VALUES (?, ?, ?, ?)",
                [(memory.id, conversation, message, int(self._now())) for memory in memories],
            )

    def edit(self, name: str, text: str, store: Store | None) -> Erased:
        """Correct a memory: the old words are erased from everywhere, its source becomes the correction."""
        plain = " ".join(valid_text(text).split())
        if not plain:
            raise UserError("the new text is empty; use `ayllu memory erase` to erase a memory")
        old = self._one(name)
        with self._database.writing() as transaction:
            transaction.execute(
                "UPDATE memories SET text = ?, edited = ?, conversation = '', message = '', untrusted = 0 WHERE id = ?",
                [plain, int(self._now()), old.id],
            )
            turns = self._turns(transaction, old)
            traced = forget(transaction, [old.text], {turn[0] for turn in turns})
            transaction.execute("DELETE FROM uses WHERE memory = ?", [old.id])
        return self._erased([old], turns, store, gone=0, traced=traced)

    def erase(self, names: Sequence[str], store: Store | None) -> Erased:
        """Erase memories from this file, the turns they came from and were used in, approvals, and all free pages."""
        old = [self._one(name) for name in names]
        turns: Turns = {}
        with self._database.writing() as transaction:
            for memory in old:
                for turn, words in self._turns(transaction, memory).items():
                    turns[turn] = turns.get(turn, frozenset()) | words
            traced = forget(transaction, [memory.text for memory in old], {turn[0] for turn in turns})
            for memory in old:
                transaction.execute("DELETE FROM uses WHERE memory = ?", [memory.id])
                transaction.execute("DELETE FROM memories WHERE id = ?", [memory.id])
        return self._erased(old, turns, store, gone=len(old), traced=traced)

    def close(self) -> None:
        """End the connection."""
        self._database.close()

    def keep_words(self, texts: Iterable[str], session: Session) -> dict[str, str]:
        """Keep what the trace of a conversation's last turn says; gives the salted digest that stands for each text."""
        return keep(self._database, texts, (session.name, session.last_asked))

    def _erased(self, old: Sequence[Memory], turns: Turns, store: Store | None, *, gone: int, traced: int) -> Erased:
        complete = self._database.scrub()
        rows = 0
        if store is not None:
            rows, whole = store.erase([memory.text for memory in old], turns)
            complete = complete and whole
        approvals = sum(ApprovalBook(self._home).forget(memory.text) for memory in old)
        return Erased(memories=gone, rows=rows, approvals=approvals, traced=traced, complete=complete)

    def _turns(self, transaction: Any, memory: Memory) -> Turns:
        """The turn that it came from, whole, and those in which it was used, with the memory's words."""
        rows = transaction.rows("SELECT conversation, message FROM uses WHERE memory = ?", [memory.id])
        turns = [(str(row[0]), str(row[1])) for row in rows]
        turns += [(memory.conversation, f"!{memory.message}")] if memory.message else []
        return dict.fromkeys(turns, frozenset(_words(memory.text)))

    def _one(self, name: str) -> Memory:
        found = [memory for memory in self.all() if memory.id == name]
        if not found:
            raise UserError(f"there is no memory {name[:40]!r}; see `ayllu memory list`")
        return found[0]


def recall(memories: Memories) -> Callable[[Session], list[tuple[str, str, bool]]]:
    """What the loop asks before each turn: memories that fit the user's last words; that they were told is kept."""

    def recalled(session: Session) -> list[tuple[str, str, bool]]:
        asked = [item for item in session.items if item["type"] == "message" and item["role"] == "user"]
        if not asked:
            return []
        found = memories.find(text_of(asked[-1]))
        if found:
            memories.used(found, conversation=session.name, message=asked[-1]["id"])
        return [(memory.id, memory.text, memory.untrusted) for memory in found]

    return recalled


def memory_tools(memories: Memories) -> list[RunnableTool]:
    """Remember and recall, as the model calls them; erasing is the user's, by `ayllu memory erase`."""

    def remember(fact: str) -> ToolResult:
        """Remember a fact about the user for later conversations.

        Parameters
        ----------
        fact
            What to remember.
        """
        trust = TRUST.get()
        try:
            memories.add(fact, conversation=trust.conversation, message=trust.message, untrusted=trust.untrusted)
        except UserError as error:
            raise ToolError(str(error)) from None
        return ToolResult(text="remembered", say=f"I will remember that: {fact}")

    def recall_fact(about: str) -> ToolResult:
        """Recall what was remembered about the user.

        Parameters
        ----------
        about
            What about.
        """
        found, trust = memories.find(about), TRUST.get()
        if not found:
            return ToolResult(text="nothing is remembered about that", say="I remember nothing about that.")
        memories.used(found, conversation=trust.conversation, message=trust.message)
        text = "\n".join(memory.text for memory in found)
        sources = [Citation(source=f"memory {memory.id}", passage=memory.text) for memory in found]
        return ToolResult(text=text, say=text, citations=sources, untrusted=any(m.untrusted for m in found))

    facts = [
        ("Remember that my sister is called Ana", {"fact": "my sister is called Ana"}),
        ("Please remember I am allergic to nuts", {"fact": "I am allergic to nuts"}),
    ]
    asked = [
        ("What is my sister called?", {"about": "my sister"}),
        ("Do you remember what I am allergic to?", {"about": "allergic"}),
        ("Do you remember where I live?", {"about": "live"}),
    ]
    return [
        tool_of(remember, ask="never", examples=facts, choices={"fact": told}, source="built in"),
        tool_of(recall_fact, effect=False, examples=asked, source="built in"),
    ]


def _words(text: str) -> set[str]:
    return {word.removesuffix("s") for word in re.findall(r"[^\W_]+", text.lower()) if word not in _COMMON}
