"""One response on its way: what the model writes becomes speech, and both become events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ayllu.device.audio.pcm import Resampler, Samples
from ayllu.device.parts import Parts
from ayllu.device.realtime.formats import Format, encoded, rate_of
from ayllu.device.realtime.items import Conversation, Item, TimedWord, new_id
from ayllu.device.speak.speaker import Spoken, speak
from ayllu.device.think.mind import Asked, Call, Counts, Mind
from ayllu.device.worker import Stuck
from ayllu.serve.errors import FAILED, ApiError

log = logging.getLogger("uvicorn.error")

PIECE = 0.2
"""Seconds of sound in one event."""
Send = Callable[..., Coroutine[Any, Any, None]]
Why = Literal["turn_detected", "client_cancelled"]


@dataclass
class Reply:
    """A response. `send` takes an event's type and its fields."""

    parts: Parts
    mind: Mind
    send: Send
    asked: Asked
    conversation: Conversation | None
    """Where what is said belongs; None for a response beside the conversation."""
    modality: Literal["text", "audio"]
    form: Format
    speed: float
    voice: str
    metadata: dict[str, str] | None = None
    said: Callable[[str, Samples, int], None] = lambda item, sound, rate: None
    """Called with each piece of sound before it is sent."""
    id: str = field(default_factory=lambda: new_id("resp"))
    output: list[Item] = field(default_factory=list)
    status: str = "in_progress"
    details: dict[str, Any] | None = None
    counts: Counts | None = None
    _why: Why | None = None
    _task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin."""
        self._task = asyncio.create_task(self._run())
        return self._task

    async def cancel(self, why: Why) -> None:
        """Stop, and tell the client; what was sent stays."""
        self._why = why
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.status == "in_progress":  # it had not begun, so that nobody was told of it
            self.status, self.details = "cancelled", {"type": "cancelled", "reason": why}

    def body(self) -> dict[str, Any]:
        """The response as an object."""
        counts = self.counts
        usage = None
        if counts is not None:
            total = counts.read + counts.written
            usage = {"input_tokens": counts.read, "output_tokens": counts.written, "total_tokens": total}
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": self.status,
            "status_details": self.details,
            "output": [item.said for item in self.output],
            "output_modalities": [self.modality],
            "audio": {"output": {"format": self.form.model_dump(), "voice": self.voice}},
            "conversation_id": self.conversation.id if self.conversation else None,
            "max_output_tokens": self.asked.most or "inf",
            "metadata": self.metadata,
            "usage": usage,
        }

    async def _run(self) -> None:
        try:
            await self.send("response.created", response=self.body())
            await self._write()
            self.status = "incomplete" if self.counts and self.counts.cut else "completed"
            if self.status == "incomplete":
                self.details = {"type": "incomplete", "reason": "max_output_tokens"}
        except asyncio.CancelledError:
            if self._why is None:  # the session ends
                raise
            self.status, self.details = "cancelled", {"type": "cancelled", "reason": self._why}
        except ApiError as error:
            self._fail(error)
        except Stuck as error:
            log.exception("a spoken answer was given up")
            self._fail(ApiError(503, str(error), code="part_stuck"))
        except Exception:
            log.exception("a spoken answer failed on its way")
            self._fail(ApiError(500, FAILED))
        if self.output and self.output[-1].said["status"] == "in_progress":
            await self._close_message(self.output[-1])
        await self.send("response.done", response=self.body())

    def _fail(self, error: ApiError) -> None:
        told = error.body["error"]
        self.status = "failed"
        self.details = {"type": "failed", "error": {key: told[key] for key in ("type", "code", "message")}}

    async def _write(self) -> None:
        calls: list[Call] = []
        async with aclosing(self.mind.answer(self.asked)) as written:
            if self.modality == "text":
                async for text in self._text(written, calls):
                    item = await self._open()
                    item.said["content"][0]["text"] += text
                    await self.send("response.output_text.delta", **self._place(item), delta=text)
            else:
                await self._speak(self._text(written, calls))
        if self.output:
            await self._close_message(self.output[-1])
        for call in calls:
            await self._call(call)

    async def _text(self, written: AsyncGenerator[Any], calls: list[Call]) -> AsyncIterator[str]:
        """The words alone; calls are put aside."""
        async for piece in written:
            match piece:
                case str():
                    yield piece
                case Call():
                    calls.append(piece)
                case Counts():
                    self.counts = piece

    async def _speak(self, text: AsyncIterator[str]) -> None:
        resampler = Resampler(self.parts.voice.rate, rate_of(self.form))
        async with aclosing(speak(self.parts, text, speed=self.speed)) as pieces:
            async for piece in pieces:
                item = await self._open()
                self._note(item, piece)
                spaced = f" {piece.text}" if item.said["content"][0]["transcript"] else piece.text
                item.said["content"][0]["transcript"] = item.spoken()
                await self.send("response.output_audio_transcript.delta", **self._place(item), delta=spaced)
                await self._sound(item, resampler.push(piece.audio))
        if self.output:
            await self._sound(self.output[-1], resampler.flush())

    def _note(self, item: Item, piece: Spoken) -> None:
        """When the words of a piece are said."""
        at = item.milliseconds
        item.words += [TimedWord(text=word.text, end=at + 1000 * word.end / piece.rate) for word in piece.words]
        item.milliseconds += 1000 * len(piece.audio) / piece.rate

    async def _sound(self, item: Item, audio: Samples) -> None:
        size = int(PIECE * rate_of(self.form))
        for at in range(0, len(audio), size):
            piece = np.asarray(audio[at : at + size])
            delta = encoded(piece, self.form)
            self.said(item.id, piece, rate_of(self.form))
            await self.send("response.output_audio.delta", **self._place(item), delta=delta)

    def _place(self, item: Item) -> dict[str, Any]:
        place = self.output.index(item)
        return {"response_id": self.id, "item_id": item.id, "output_index": place, "content_index": 0}

    async def _open(self) -> Item:
        """The message that is being said."""
        if self.output:
            return self.output[-1]
        part = {"type": "output_text", "text": ""}
        if self.modality == "audio":
            part = {"type": "output_audio", "transcript": ""}
        said = {"id": new_id("item"), "object": "realtime.item", "type": "message", "role": "assistant"}
        item = Item({**said, "status": "in_progress", "content": [part]})
        await self._added(item)
        await self.send("response.content_part.added", **self._place(item), part=self._part(part))
        return item

    async def _added(self, item: Item) -> None:
        self.output.append(item)
        shown = {**item.said, **({"content": []} if "content" in item.said else {})}
        place = self.output.index(item)
        await self.send("response.output_item.added", response_id=self.id, output_index=place, item=shown)
        if self.conversation is not None:
            before = self.conversation.add(item)
            await self.send("conversation.item.added", previous_item_id=before, item=shown)

    @staticmethod
    def _part(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "type": "audio" if part["type"] == "output_audio" else "text"}

    async def _close_message(self, item: Item) -> None:
        if item.said["type"] != "message" or item.said["status"] != "in_progress":
            return
        item.said["status"] = "completed" if self.status == "in_progress" and self._why is None else "incomplete"
        part = item.said["content"][0]
        if self.modality == "audio":
            await self.send("response.output_audio.done", **self._place(item))
            transcript = part["transcript"]
            await self.send("response.output_audio_transcript.done", **self._place(item), transcript=transcript)
        else:
            await self.send("response.output_text.done", **self._place(item), text=part["text"])
        await self.send("response.content_part.done", **self._place(item), part=self._part(part))
        await self._item_done(item)

    async def _item_done(self, item: Item) -> None:
        place = self.output.index(item)
        await self.send("response.output_item.done", response_id=self.id, output_index=place, item=item.said)
        if self.conversation is not None:
            await self.send("conversation.item.done", previous_item_id=None, item=item.said)

    async def _call(self, call: Call) -> None:
        said = {"id": new_id("item"), "object": "realtime.item", "type": "function_call", "status": "completed"}
        arguments = json.dumps(json.loads(call.arguments), ensure_ascii=False)
        item = Item({**said, "name": call.name, "call_id": call.id, "arguments": arguments})
        await self._added(item)
        place = {key: value for key, value in self._place(item).items() if key != "content_index"}
        named = {**place, "call_id": call.id}
        await self.send("response.function_call_arguments.delta", **named, delta=arguments)
        await self.send("response.function_call_arguments.done", **named, name=call.name, arguments=arguments)
        await self._item_done(item)
