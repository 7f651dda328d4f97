"""The events of a response while it comes, numbered, and the items that they add up to."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ayllu.serve.engines.engine import DrawnToken
from ayllu.serve.responses.hosted.answer import REQUEST, HostedBegan, HostedDone, HostedEvent
from ayllu.serve.responses.hosted.citations import citations, file_citations
from ayllu.serve.responses.hosted.tools import MadeFile
from ayllu.serve.responses.items import new_id, output_text
from ayllu.serve.state.items import Item
from ayllu.serve.turn.events import CallArguments, CallEnded, CallStarted, End, Words

Sent = dict[str, Any]
"""An event as clients get it."""
WORKING = {"code_interpreter_call": "interpreting", "file_search_call": "searching"}
"""What a hosted call does while it runs, by the type of its item."""
BLOCK = 32
"""Characters of a delta and its obfuscation together are a multiple of this."""


class EventWriter:
    """Makes events of an answer's parts; `output` has the items as far as they have come.

    `logprobs` are made of drawn tokens by `told`, where they were asked for.
    """

    def __init__(
        self, *, obfuscate: bool = False, told: Callable[[Sequence[DrawnToken]], list[dict[str, Any]]] | None = None
    ) -> None:
        self.output: list[Item] = []
        self._number = 0
        self._obfuscate, self._told = obfuscate, told
        self._open = False
        self._files: list[MadeFile] = []
        """What programs have written since the last message."""
        self._results: list[dict[str, Any]] = []
        """What searches of this response have found."""

    def about(self, kind: str, body: dict[str, Any]) -> Sent:
        """An event that shows the whole response."""
        return self._event(f"response.{kind}", response={**body, "output": [dict(item) for item in self.output]})

    def write(self, event: HostedEvent) -> Iterator[Sent]:
        """The events of one part of the answer."""
        if isinstance(event, HostedBegan):
            yield from self._began(event.item)
        elif isinstance(event, HostedDone):
            self._files += event.files
            if event.item["type"] == "file_search_call":
                self._results += event.item["results"] or ()
            yield from self._ended(event.item)
        elif isinstance(event, Words):
            if not self._open:
                yield from self._open_message()
            yield from self._words(event)
        elif isinstance(event, CallStarted):
            yield from self._close_message("completed")
            call = {"type": "function_call", "call_id": event.id, "name": event.name, "arguments": ""}
            self.output.append({"id": new_id("fc"), "status": "in_progress", **call})
            yield self._event("response.output_item.added", output_index=self._last, item=dict(self.output[-1]))
        elif isinstance(event, CallArguments):
            item = self.output[-1]
            item["arguments"] += event.text
            yield self._delta("response.function_call_arguments.delta", event.text, item_id=item["id"])
        elif isinstance(event, CallEnded):
            item = self.output[-1]
            item.update(arguments=event.arguments, status="completed")
            yield self._event(
                "response.function_call_arguments.done",
                item_id=item["id"],
                output_index=self._last,
                name=item["name"],
                arguments=event.arguments,
            )
            yield self._event("response.output_item.done", output_index=self._last, item=dict(item))

    def rest(self, end: End) -> Iterator[Sent]:
        """What is told of ids that are no text, where words are what the answer ends with."""
        if self._told is not None and end.drawn and self._open:
            yield from self._words(Words(text="", drawn=end.drawn))

    def _began(self, item: Item) -> Iterator[Sent]:
        """A call of a hosted tool begins: its item, what it does, and a program whole."""
        yield from self._close_message("completed")
        self.output.append(dict(item))
        kind, place = item["type"], {"item_id": item["id"], "output_index": self._last}
        yield self._event("response.output_item.added", output_index=self._last, item=dict(item))
        if kind == REQUEST:
            return
        yield self._event(f"response.{kind}.in_progress", **place)
        if kind == "mcp_call":
            yield self._event("response.mcp_call_arguments.delta", delta=item["arguments"], **place)
            yield self._event("response.mcp_call_arguments.done", arguments=item["arguments"], **place)
        if "code" in item:
            yield self._event("response.code_interpreter_call_code.delta", delta=item["code"], **place)
            yield self._event("response.code_interpreter_call_code.done", code=item["code"], **place)
        if kind in WORKING:
            yield self._event(f"response.{kind}.{WORKING[kind]}", **place)

    def _ended(self, item: Item) -> Iterator[Sent]:
        self.output[-1] = dict(item)
        if item["type"] != REQUEST:
            end = "failed" if item["type"] == "mcp_call" and item["status"] == "failed" else "completed"
            yield self._event(f"response.{item['type']}.{end}", item_id=item["id"], output_index=self._last)
        yield self._event("response.output_item.done", output_index=self._last, item=dict(item))

    def close(self, status: str) -> Iterator[Sent]:
        """The events that end the last item; an answer without any has an empty message."""
        if not self.output and status != "failed":
            yield from self._open_message()
        yield from self._close_message(status)
        for item in self.output:
            if item.get("status") in ("in_progress", *WORKING.values()):
                item["status"] = "incomplete"
                if item["type"] == "function_call":  # the last one: the answer was cut amid its arguments
                    yield self._event("response.output_item.done", output_index=self._last, item=dict(item))

    @property
    def _last(self) -> int:
        return len(self.output) - 1

    def _open_message(self) -> Iterator[Sent]:
        self._open = True
        message = {"type": "message", "role": "assistant", "content": []}
        self.output.append({"id": new_id("msg"), "status": "in_progress", **message})
        yield self._event(
            "response.output_item.added", output_index=self._last, item={**self.output[-1], "content": []}
        )
        self.output[-1]["content"].append(output_text(""))
        yield self._part("response.content_part.added", part=output_text(""))

    def _words(self, event: Words) -> Iterator[Sent]:
        part = self.output[-1]["content"][0]
        logprobs = self._told(event.drawn) if self._told is not None else []
        part["text"] += event.text
        part["logprobs"] += logprobs
        place = {"item_id": self.output[-1]["id"], "content_index": 0}
        yield self._delta("response.output_text.delta", event.text, logprobs=logprobs, **place)

    def _close_message(self, status: str) -> Iterator[Sent]:
        if not self._open:
            return
        self._open = False
        item = self.output[-1]
        part = item["content"][0]
        item["status"] = "completed" if status == "completed" else "incomplete"
        cited = [*citations(self._files, part["text"]), *file_citations(self._results, part["text"])]
        for number, annotation in enumerate(cited):
            part["annotations"].append(annotation)
            yield self._part(
                "response.output_text.annotation.added", annotation_index=number, annotation=dict(annotation)
            )
        self._files.clear()
        yield self._part("response.output_text.done", text=part["text"], logprobs=list(part["logprobs"]))
        yield self._part("response.content_part.done", part=dict(part))
        yield self._event("response.output_item.done", output_index=self._last, item={**item, "content": [dict(part)]})

    def _part(self, kind: str, **fields: Any) -> Sent:
        return self._event(kind, item_id=self.output[-1]["id"], output_index=self._last, content_index=0, **fields)

    def _delta(self, kind: str, text: str, **fields: Any) -> Sent:
        if self._obfuscate:
            fields["obfuscation"] = "".join(secrets.choice(string.ascii_letters) for _ in range(-len(text) % BLOCK))
        return self._event(kind, output_index=self._last, delta=text, **fields)

    def _event(self, kind: str, **fields: Any) -> Sent:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}
