"""A conversation of the assistant, kept in the gateway's store: what has happened is on disk before it goes on.

Each step is an item of a conversation. Which calls have begun is in its metadata, so that after a crash nothing that
changes the world is done twice.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ayllu.lab.visible import valid_text
from ayllu.serve.responses.items import new_id
from ayllu.serve.state.conversations import ConversationStore
from ayllu.serve.state.items import Item, Missing
from ayllu.serve.turn.reader import call_id

KIND = {"kind": "assistant"}
MARK = "ayllu"
"""Of an item: what the assistant knows of it beside what the API says."""
INTERRUPTED = (
    "the assistant was stopped while {name} ran; whether it took effect is not known, and it was not run again"
)
LEFT = "{name} was not run: the user stopped it, and said something else"
MOST_BEGUN = 16
"""Calls that may run at a time: their ids have 29 letters, and a text of the metadata at most 512."""


class Session:
    """One conversation; `items` is all that was said, called and returned."""

    def __init__(self, store: ConversationStore, name: str, items: Sequence[Item], begun: Iterable[str] = ()) -> None:
        self._store, self.name = store, name
        self.items = list(items)
        self.begun = set(begun)
        """Calls that have begun and not returned."""

    @staticmethod
    def new(store: ConversationStore) -> Session:
        """A conversation in which nothing was said."""
        name = new_id("conv")
        store.create_conversation(name, int(time.time()), dict(KIND), [])
        return Session(store, name, [])

    @staticmethod
    def load(store: ConversationStore, name: str) -> Session:
        """A conversation that was kept; Missing where there is none of the assistant's of that name."""
        found = store.conversation(name)
        if found is None or found[1].get("kind") != KIND["kind"]:
            raise Missing(name)
        items, _ = store.conversation_items(name)
        return Session(store, name, items, filter(None, found[1].get("begun", "").split(",")))

    def add(self, *items: Item) -> list[Item]:
        """Keep what has happened. Calls get ids of their own where a server gives one to several, or a strange one."""
        taken = {item["call_id"] for item in self.items if item["type"] == "function_call"}
        fresh = []
        for item in map(valid, items):
            if item["type"] == "function_call":
                fits = item["call_id"] not in taken and re.fullmatch(r"[\w.:-]{1,64}", item["call_id"], re.ASCII)
                item = item if fits else {**item, "call_id": call_id()}
                taken.add(item["call_id"])
            fresh.append(item)
        self._store.add_items(self.name, fresh)
        self.items += fresh
        return fresh

    def say(self, text: str) -> None:
        """Keep a message of the user. Calls that wait are not made any more: no server takes a result behind it."""
        waiting = self.waiting
        for item in waiting:
            left = INTERRUPTED if item["call_id"] in self.begun else LEFT
            self.add(output(item["call_id"], left.format(name=item["name"])))
        self.end(item["call_id"] for item in waiting)
        self.add(message("user", text))

    def begin(self, calls: Iterable[str]) -> None:
        """Keep that calls begin."""
        self._set(self.begun | set(calls))

    def end(self, calls: Iterable[str]) -> None:
        """Keep that calls have ended."""
        self._set(self.begun - set(calls))

    @property
    def user_words(self) -> list[str]:
        """What the user said."""
        return [text_of(item) for item in self.items if item["type"] == "message" and item["role"] == "user"]

    @property
    def ended(self) -> bool:
        """Whether the last word is the model's."""
        return bool(self.items) and self.items[-1]["type"] == "message" and self.items[-1]["role"] == "assistant"

    @property
    def last_asked(self) -> str:
        """The id of the user's last message; empty where there is none."""
        asked = (item["id"] for item in reversed(self.items) if item["type"] == "message" and item["role"] == "user")
        return next(asked, "")

    @property
    def untrusted(self) -> list[tuple[str, str]]:
        """What others wrote: where it came from, and the text."""
        marked = ((item.get(MARK, {}), item) for item in self.items)
        return [(mark["untrusted"], text_of(item)) for mark, item in marked if mark.get("untrusted")]

    @property
    def waiting(self) -> list[Item]:
        """Calls that have no result yet."""
        answered = {item["call_id"] for item in self.items if item["type"] == "function_call_output"}
        return [item for item in self.items if item["type"] == "function_call" and item["call_id"] not in answered]

    def _set(self, begun: set[str]) -> None:
        if begun != self.begun:
            self.begun = begun
            self._store.describe_conversation(self.name, {**KIND, **({"begun": ",".join(begun)} if begun else {})})


def valid(value: Any) -> Any:
    """`value` without halves of surrogate pairs, which names of files and JSON may hold and nothing else takes."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {valid_text(key): valid(entry) for key, entry in value.items()}
    return [valid(entry) for entry in value] if isinstance(value, list) else value


def message(role: str, text: str) -> Item:
    """A message as an item."""
    kind = "output_text" if role == "assistant" else "input_text"
    part: dict[str, Any] = {"type": kind, "text": text}
    if role == "assistant":
        part |= {"annotations": [], "logprobs": []}
    return {"id": new_id("msg"), "type": "message", "role": role, "status": "completed", "content": [part]}


def output(call: str, text: str, *, untrusted: str = "") -> Item:
    """A call's result as an item; `untrusted` says where it came from if others may have written it."""
    item = {"id": new_id("fco"), "type": "function_call_output", "status": "completed", "call_id": call, "output": text}
    return {**item, MARK: {"untrusted": untrusted}} if untrusted else item


def text_of(item: Item) -> str:
    """The words of an item."""
    if item["type"] == "message":
        return "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
    if item["type"] == "function_call":
        return f"{item['name']} {item['arguments']}"
    return str(item.get("output", ""))


def arguments_of(item: Item) -> dict[str, Any]:
    """The arguments of a call; ValueError where they are no object."""
    found = valid(json.loads(item["arguments"]))
    if not isinstance(found, dict):
        raise ValueError("the arguments are no JSON object")
    return found
