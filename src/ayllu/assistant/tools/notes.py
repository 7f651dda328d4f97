"""Notes and reminders: a file in the home that the user can read, and four things to do with it."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ayllu.assistant.tools.dates import parse_moment
from ayllu.assistant.tools.tool import Citation, ToolError, ToolResult
from ayllu.assistant.tools.trust import TRUST
from ayllu.lab.store import write_atomically

FILE = "assistant/notes.json"
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
        "my",
        "me",
        "i",
        "about",
        "what",
        "when",
        "where",
        "which",
        "who",
        "did",
        "do",
        "does",
        "with",
        "that",
        "this",
        "find",
        "note",
        "notes",
        "reminder",
        "reminders",
        "have",
        "any",
        "show",
        "search",
        "look",
        "up",
        "say",
    ]
)


class Notes:
    """Notes and reminders of one home; without one they live as long as the process."""

    def __init__(self, home: Path | None, now: Callable[[], datetime]) -> None:
        self._path, self.now = None if home is None else home / FILE, now
        self._memory: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def take_note(self, text: str) -> ToolResult:
        """Write a note down for the user.

        Parameters
        ----------
        text
            What to write down.
        """
        self._add("note", text)
        return ToolResult(text="noted", say=f"Noted: {text}")

    def find_note(self, query: str) -> ToolResult:
        """Find what the user wrote in a note.

        Parameters
        ----------
        query
            Words of the note.
        """
        found = self._matching("note", query)
        if not found:
            return ToolResult(text="there is no such note", say="There is no note about that.")
        theirs = any(entry["untrusted"] for entry in found)
        texts = [entry["text"] for entry in found]
        sources = [Citation(source=f"note {entry['id']}", passage=entry["text"]) for entry in found]
        return ToolResult(text="\n".join(texts), say="\n".join(texts), citations=sources, untrusted=theirs)

    def delete_note(self, query: str) -> ToolResult:
        """Delete the note that matches.

        Parameters
        ----------
        query
            Words of the note.
        """
        return self._delete("note", query)

    def set_reminder(self, text: str, when: str) -> ToolResult:
        """Remind the user of something at a time.

        Parameters
        ----------
        text
            What to be reminded of.
        when
            When, such as tomorrow at 9, on Friday at 17:30 or in 20 minutes.
        """
        moment = parse_moment(when, self.now())
        if moment < self.now().replace(tzinfo=None):
            raise ToolError(f"{moment:%Y-%m-%d %H:%M} is past")
        self._add("reminder", text, when=f"{moment:%Y-%m-%dT%H:%M}")
        shown = f"{moment:%A, %d %B %Y at %H:%M}"
        return ToolResult(text=f"reminder set for {moment:%Y-%m-%d %H:%M}", say=f"I will remind you: {text}, {shown}.")

    def list_reminders(self) -> ToolResult:
        """List the user's reminders, the next one first."""
        found = sorted(self._read("reminder"), key=lambda entry: entry["when"])
        theirs = any(entry["untrusted"] for entry in found)
        lines = [f"{entry['when'].replace('T', ' ')} {entry['text']}" for entry in found]
        text = "\n".join(lines) or "there are no reminders"
        return ToolResult(text=text, say="\n".join(lines) or "You have no reminders.", untrusted=theirs)

    def cancel_reminder(self, query: str) -> ToolResult:
        """Cancel the reminder that matches.

        Parameters
        ----------
        query
            Words of the reminder.
        """
        return self._delete("reminder", query)

    def forget(self, text: str) -> int:
        """Delete everything that holds `text`; gives how many."""
        with self._lock:
            kept = [entry for entry in self._all() if text not in entry["text"]]
            gone = len(self._all()) - len(kept)
            if gone:
                self._write(kept)
            return gone

    def _delete(self, kind: Literal["note", "reminder"], query: str) -> ToolResult:
        found = self._matching(kind, query)
        if not found:
            raise ToolError(f"there is no such {kind}")
        if len(found) > 1 and found[0]["text"].lower() != query.lower():
            theirs = any(entry["untrusted"] for entry in found[:5])
            texts = "; ".join(entry["text"] for entry in found[:5])
            raise ToolError(f"{len(found)} {kind}s match: {texts}", untrusted=theirs)
        with self._lock:
            self._write([entry for entry in self._all() if entry["id"] != found[0]["id"]])
        return ToolResult(text="deleted", say=f"Deleted: {found[0]['text']}", untrusted=found[0]["untrusted"])

    def _matching(self, kind: str, query: str) -> list[dict[str, Any]]:
        """The entries that share most words with the query, best first."""
        wanted = _words(query)
        scored = [(len(wanted & _words(entry["text"])), entry) for entry in self._read(kind)]
        best = max((score for score, _ in scored), default=0)
        return [entry for score, entry in scored if score == best and score > 0][:5]

    def _add(self, kind: str, text: str, **more: Any) -> None:
        trust = TRUST.get()
        entry = {
            "id": uuid.uuid4().hex[:8],
            "kind": kind,
            "text": text,
            "made": f"{self.now():%Y-%m-%dT%H:%M:%S}",
            "message": trust.message,
            "untrusted": trust.untrusted,
            **more,
        }
        with self._lock:
            self._write([*self._all(), entry])

    def _read(self, kind: str) -> list[dict[str, Any]]:
        with self._lock:
            return [entry for entry in self._all() if entry["kind"] == kind]

    def _all(self) -> list[dict[str, Any]]:
        if self._path is None:
            return list(self._memory)
        if not self._path.exists():
            return []
        try:
            return list(json.loads(self._path.read_text())["entries"])
        except (ValueError, KeyError, TypeError) as error:
            raise ToolError(f"{self._path} is damaged: {error}") from None

    def _write(self, entries: list[dict[str, Any]]) -> None:
        self._memory = entries
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._path, json.dumps({"entries": entries}, indent=2, ensure_ascii=False) + "\n")


def _words(text: str) -> set[str]:
    return {word.removesuffix("s") for word in re.findall(r"\w+", text.lower()) if word not in _COMMON}
