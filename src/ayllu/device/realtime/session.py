"""A session: events of the client in, events of the server out. No event ends it but the client's leaving."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import ValidationError

from ayllu.assistant.steps import Step, as_json
from ayllu.device.audio.pcm import Resampler, Samples
from ayllu.device.hear.buffer import Buffer, check_length
from ayllu.device.hear.ear import MILLISECOND, Started
from ayllu.device.hear.listener import Failed, Final, Heard, Listener, Partial, Told, Voiced
from ayllu.device.hear.problems import Problems
from ayllu.device.parts import Parts
from ayllu.device.privacy.consent import QUESTION, Mode
from ayllu.device.privacy.ledger import Ledger
from ayllu.device.privacy.wearer import Wearer
from ayllu.device.realtime.captures import Captures
from ayllu.device.realtime.echo import Echo
from ayllu.device.realtime.enrolment import Enrolment
from ayllu.device.realtime.formats import decoded, parsed, rate_of
from ayllu.device.realtime.items import Conversation, Item, checked_item, context_of, new_id
from ayllu.device.realtime.reply import Reply
from ayllu.device.realtime.settings import (
    ResponseSettings,
    Settings,
    check_voice,
    described,
    refused,
    tool_choice,
    updated,
)
from ayllu.device.realtime.sight import Sight
from ayllu.device.realtime.taking import Taking
from ayllu.device.realtime.transcripts import Transcripts
from ayllu.device.realtime.translating import Translating
from ayllu.device.speech import told_stuck
from ayllu.device.think.assisted import Assistant
from ayllu.device.think.mind import Asked, Mind, Saying
from ayllu.device.worker import Stuck
from ayllu.serve.errors import FAILED, ApiError

log = logging.getLogger("uvicorn.error")

INSTRUCTIONS = "You are the voice of a pair of glasses. Answer briefly, in plain spoken words."
HEAR_RATE = 16_000


class Session:
    """One connection. `out` takes each event of the server; it may raise to end the session."""

    def __init__(
        self,
        parts: Parts,
        mind: Mind,
        out: asyncio.Queue[str],
        *,
        ledger: Ledger | None = None,
        consent: Mode = "light",
        assistant: Assistant | None = None,
        wake: str | None = None,
        wearer: Wearer | None = None,
        cancel_echo: bool = False,
    ) -> None:
        self.parts, self.plain, self._out = parts, mind, out
        self.mind = mind if assistant is None else assistant.joined(mind, self._stepped)
        self.transcripts = Transcripts(self.send)
        self.id = new_id("sess")
        self.captures = Captures(ledger, self.id)
        enrolment = Enrolment(parts, self.send, self.captures, wearer)
        self.taking = Taking(self.send, self._question, enrolment, consent=consent, wake=wake, wearer=wearer)
        self.sight = Sight(parts, mind, self.send, self.captures)
        self.translating = Translating(parts, self.send)
        self.echo = Echo(self.send, on=cancel_echo)
        self.conversation = Conversation()
        self.settings = Settings(instructions=INSTRUCTIONS, model=mind.name)
        self.settings.audio.output.voice = parts.voice.name
        if consent == "push":
            self.settings.audio.input.turn_detection = None
        self.reply: Reply | None = None
        self._buffer = Buffer()
        self._before = 0
        """Samples, at the ear's rate, that came before the listener that is at work now."""
        self._turn: dict[int, Item] = {}
        self._open: str | None = None
        """The name of the item that the open turn will have."""
        self._begun = 0
        """The sample of the listener at which it has begun."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: asyncio.Queue[Told] = asyncio.Queue()
        self._listener: Listener | None = None
        self._listen()

    async def begin(self) -> None:
        """Greet, and begin to answer what the ear tells."""
        self._keep(asyncio.create_task(self._follow()))
        await self.send("session.created", session=self._described())
        await self.taking.begin()

    async def send(self, kind: str, **fields: Any) -> None:
        """One event to the client; waits where the client does not read."""
        event = {"type": kind, "event_id": new_id("event"), **fields}
        await self._out.put(json.dumps(event, ensure_ascii=False, separators=(",", ":")))

    async def take(self, text: str) -> None:
        """One event of the client; what is wrong with it becomes an event of type error."""
        name: Any = None
        try:
            event = parsed(text)
            name = event.pop("event_id", None)
            await self._handle(event.pop("type", None), event)
        except ApiError as error:
            await self.send("error", error={**error.body["error"], "event_id": name if isinstance(name, str) else None})
        except Exception:
            log.exception("an event of a realtime session failed")
            await self.send("error", error={**ApiError(500, FAILED).body["error"], "event_id": None})

    async def close(self) -> None:
        """Stop everything."""
        if self._listener is not None:
            self._listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _handle(self, kind: Any, event: dict[str, Any]) -> None:
        known: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
            "session.update": (self._update, ("session",)),
            "input_audio_buffer.append": (self._append, ("audio",)),
            "input_audio_buffer.commit": (self._commit, ()),
            "input_audio_buffer.clear": (self._clear, ()),
            "conversation.item.create": (self._create, ("item", "previous_item_id")),
            "conversation.item.retrieve": (self._retrieve, ("item_id",)),
            "conversation.item.delete": (self._delete, ("item_id",)),
            "conversation.item.truncate": (self._truncate, ("item_id", "content_index", "audio_end_ms")),
            "response.create": (self._respond, ("response",)),
            "response.cancel": (self._cancel, ("response_id",)),
            "x.camera": (self.sight.switch, ("on",)),
            "x.translate": (self.translating.switch, ("on",)),
            "x.enrol": (self.taking.enrolment.switch, ("on",)),
            "x.echo_cancellation": (self.echo.switch, ("on",)),
        }
        if kind not in known:
            shown = str(kind)[:100]
            raise ApiError(400, f"events of type {shown!r} are not understood", param="type", code="unknown_event")
        work, fields = known[kind]
        if unknown := sorted(set(event) - set(fields)):
            shown = unknown[0][:60]
            raise ApiError(400, f"{shown} is not known in {kind}", param=shown, code="unknown_parameter")
        await work(*(event.get(name) for name in fields))

    async def _update(self, change: Any) -> None:
        if not isinstance(change, dict):
            raise ApiError(400, "session must be an object", param="session", code="invalid_value")
        before = self.settings
        found = updated(before, change, voice=self.parts.voice.name, model=self.mind.name, language=self.parts.language)
        if self.taking.consent.mode == "push" and found.audio.input.turn_detection is not None:
            raise ApiError(
                400,
                "these glasses listen while a button is held, so turn_detection must be null",
                param="session.audio.input.turn_detection",
                code="consent_required",
            )
        self.settings = found
        if found.audio.input != before.audio.input:
            self._listen()
        await self.send("session.updated", session=self._described())

    def _listen(self) -> None:
        """Begin to listen as the settings say; an open turn is forgotten."""
        how = self.settings.audio.input
        if self._listener is not None:
            self._before += self._listener.ear.heard
            self._listener.close()
        self._resampler = Resampler(rate_of(how.format), HEAR_RATE)
        self._listener, self._problems = None, Problems()
        self._turn, self._buffer, self._open = {}, Buffer(), None
        if how.turn_detection is not None:
            self._listener = Listener(self.parts, self._events.put_nowait, how.turn_detection.listening())

    async def _append(self, audio: Any) -> None:
        if not isinstance(audio, str):
            raise ApiError(400, "audio must be a base64 text", param="audio", code="invalid_value")
        await self.hear(self._resampler.push(decoded(audio, self.settings.audio.input.format)))

    async def hear(self, sound: Samples) -> None:
        """The next piece of the microphone at 16 kHz. Raises ApiError where the buffer is full."""
        for problem in self._problems.push(sound):
            await self.send("x.input_audio.problem", message=problem)
        sound = self.echo.cleaned(sound)
        if self._listener is not None:
            self._listener.feed(sound)
        else:
            self._buffer.add(sound)

    async def _commit(self) -> None:
        audio = self._buffer.clear() if self._listener is None else self._listener.cut()
        check_length(audio)
        await self._note(audio, "the buffer was committed")
        item = await self._committed(audio)
        try:
            item.said["content"][0]["transcript"] = await self.parts.rescore(audio)
        except Exception as error:
            log.exception("what was committed could not be written down")
            await self.transcripts.failed(item.id, str(error) if isinstance(error, Stuck) else "the recogniser failed")
        else:
            await self._transcribed(item)

    async def _clear(self) -> None:
        self._buffer.clear()
        if self._listener is not None:
            self._listener.cut()
            self._open = None
        await self.send("input_audio_buffer.cleared")

    async def _create(self, given: Any, previous: Any) -> None:
        item = checked_item(given)
        for part in item.said.get("content", []):
            if part["type"] == "input_audio":
                await self._hear_part(part)
        with self.sight.taking():
            await self.sight.look(item, allowed=self.taking.consent.open)
            before = self.conversation.add(item, previous)
            await self.send("conversation.item.added", previous_item_id=before, item=item.said)
            await self.send("conversation.item.done", previous_item_id=before, item=item.said)
            await self.sight.tell(item)
        await self.translating.seen(item)

    async def _hear_part(self, part: dict[str, Any]) -> None:
        """Write down the sound of a message that a client sends; the sound itself is not kept."""
        form = self.settings.audio.input.format
        resampler = Resampler(rate_of(form), HEAR_RATE)
        sound = resampler.push(decoded(part.pop("audio", "") or "", form))
        sound = np.concatenate([sound, resampler.flush()])
        with told_stuck():
            part["transcript"] = await self.parts.rescore(sound)

    async def _retrieve(self, name: Any) -> None:
        await self.send("conversation.item.retrieved", item=self.conversation.find(name).said)

    async def _delete(self, name: Any) -> None:
        self.conversation.remove(name)
        await self.send("conversation.item.deleted", item_id=name)

    async def _truncate(self, name: Any, index: Any, end: Any) -> None:
        self.conversation.truncate(name, index, end)
        self.echo.stopped(name, end)
        await self.send("conversation.item.truncated", item_id=name, content_index=index, audio_end_ms=end)

    async def _respond(self, given: Any) -> None:
        try:
            wanted = ResponseSettings.model_validate({} if given is None else given)
        except ValidationError as error:
            raise refused(error, "response") from None
        if self.reply is not None and self.reply.status == "in_progress":
            raise ApiError(
                400,
                f"the response {self.reply.id} is under way; wait for it, or cancel it",
                code="conversation_already_has_active_response",
            )
        self._answer(wanted)

    def _answer(self, wanted: ResponseSettings) -> None:
        """Begin a response; where the question takes a look, the client's camera is asked first."""
        if wanted.input is not None:
            self._start(wanted, self.plain)  # beside the conversation, in which the assistant may have asked something
        elif not self.sight.due(self.conversation):
            self._start(wanted, self.sight.mind_for(self.conversation))
        elif not self.sight.asking:
            self._keep(asyncio.create_task(self._look(wanted)))

    async def _look(self, wanted: ResponseSettings) -> None:
        mind = await self.sight.ask(self.conversation)
        try:
            if self.reply is None or self.reply.status != "in_progress":
                self._start(wanted, mind)
        except ApiError as error:
            await self.send("error", error={**error.body["error"], "event_id": None})

    async def _cancel(self, name: Any) -> None:
        reply = self.reply
        if reply is None or reply.status != "in_progress" or name not in (None, reply.id):
            raise ApiError(400, "no such response is under way", code="response_cancel_not_active")
        await reply.cancel("client_cancelled")

    def _start(self, wanted: ResponseSettings, mind: Mind | None = None, parts: Parts | None = None) -> None:
        """Begin a response, of another mind or with other parts where they are given."""
        parts = parts or self.parts
        settings = self.settings
        output = (wanted.audio or {}).get("output", settings.audio.output)
        check_voice(output.voice, self.parts.voice.name)
        instructions = settings.instructions if wanted.instructions is None else wanted.instructions
        messages = context_of(self.conversation, wanted.input, instructions)
        most = wanted.max_output_tokens or settings.max_output_tokens
        tools = settings.tools if wanted.tools is None else wanted.tools
        asked = Asked(
            messages=messages,
            most=None if most == "inf" else most,
            tools=[tool.tool() for tool in tools],
            choice=tool_choice(wanted.tool_choice or settings.tool_choice),
            trim=settings.truncation == "auto",
        )
        self.reply = Reply(
            parts=parts,
            mind=mind or self.mind,
            send=self.send,
            asked=asked,
            conversation=self.conversation if wanted.conversation == "auto" else None,
            modality=(wanted.output_modalities or settings.output_modalities)[0],
            form=output.format,
            speed=output.speed,
            voice=parts.voice.name,
            metadata=wanted.metadata,
            said=self.echo.said,
        )
        reply = self.reply
        task = reply.start()
        task.add_done_callback(lambda _: self.taking.wake.stay(sum(item.milliseconds for item in reply.output) / 1000))
        self._keep(task)

    async def _follow(self) -> None:
        """Take what the ear tells, in order."""
        while True:
            event = await self._events.get()
            try:
                await self._heard(event)
            except ApiError as error:
                await self.send("error", error={**error.body["error"], "event_id": None})
            except Exception:
                log.exception("what was heard could not be answered")
                await self.send("error", error={**ApiError(500, FAILED).body["error"], "event_id": None})

    async def _heard(self, event: Told) -> None:
        match event:
            case Started():
                self._open, self._begun = new_id("item"), event.at
                if self.taking.opened():
                    await self._started()
            case Voiced():
                if self._open is not None and self.taking.voiced(event.voice):
                    await self._started()
            case Partial():
                await self._partly(event.text)
            case Heard():
                await self._ended(event)
            case Final():
                item = self._turn.pop(event.number, None)
                if item is not None:
                    await self._finally(item, self.taking.finally_said(event.text))
            case Failed():
                await self.transcripts.failed(self._open or "", event.why)

    async def _started(self) -> None:
        """Tell that somebody speaks, who may interrupt."""
        at = (self._before + self._begun) // MILLISECOND
        await self.send("input_audio_buffer.speech_started", audio_start_ms=at, item_id=self._open)
        detection = self.settings.audio.input.turn_detection
        if detection and detection.interrupt_response and self.reply and self.reply.status == "in_progress":
            await self.reply.cancel("turn_detected")

    async def _partly(self, text: str) -> None:
        """Tell what has been said so far, where a recogniser's growing text goes on from what was told."""
        meant = self.taking.partly(text)
        if meant and self.settings.audio.input.transcription is not None and self._open is not None:
            await self.transcripts.partly(self._open, meant)

    async def _ended(self, event: Heard) -> None:
        known = await self.taking.known(event)
        item_id = self._open = self._open or new_id("item")
        if known and not self.taking.told:
            await self._started()
        if known or self.taking.told:
            at = (self._before + event.end) // MILLISECOND
            await self.send("input_audio_buffer.speech_stopped", audio_end_ms=at, item_id=item_id)
        text = await self.taking.taken(event) if known else None
        if text is None:
            self._open = None
            return
        await self._note(event.audio, "somebody spoke")
        item = await self._committed(event.audio, item_id)
        item.said["content"][0]["transcript"] = text
        if text and self.parts.final is not None:
            self._turn[event.number] = item
        else:
            await self._transcribed(item)
        detection = self.settings.audio.input.turn_detection
        translated = await self.translating.told(item, text) if text and self.translating.on else None
        idle = self.reply is None or self.reply.status != "in_progress"
        if not (text and detection and detection.create_response and idle):
            return
        if translated is None:
            self._answer(ResponseSettings())
        else:
            self._start(self.translating.response, Saying(translated), self.translating.parts)

    async def _finally(self, item: Item, text: str) -> None:
        """The second recogniser has the last word."""
        first, item.said["content"][0]["transcript"] = item.said["content"][0]["transcript"], text
        await self._transcribed(item)
        if self.translating.on and text != first:
            await self.translating.told(item, text)

    def _question(self) -> None:
        """Ask for leave to listen, beside the conversation, unless something is being said."""
        if self.reply is None or self.reply.status != "in_progress":
            self._start(ResponseSettings(conversation="none", input=[], instructions=""), Saying(QUESTION))

    async def _note(self, audio: Samples, why: str) -> None:
        went = (self.parts.recogniser.name, self.mind.name)
        seconds = round(len(audio) / HEAR_RATE, 2)
        await self.captures.note("microphone", why, went, "its text, until the session ends", seconds=seconds)

    async def _committed(self, audio: Samples, item_id: str | None = None) -> Item:
        item_id, self._open = item_id or self._open or new_id("item"), None
        said = {"id": item_id, "object": "realtime.item", "type": "message", "role": "user", "status": "completed"}
        item = Item({**said, "content": [{"type": "input_audio", "transcript": None}]})
        item.milliseconds = len(audio) / MILLISECOND
        before = self.conversation.last()
        await self.send("input_audio_buffer.committed", previous_item_id=before, item_id=item_id)
        self.conversation.add(item)
        await self.send("conversation.item.added", previous_item_id=before, item=item.said)
        await self.send("conversation.item.done", previous_item_id=before, item=item.said)
        return item

    async def _transcribed(self, item: Item) -> None:
        """Tell what was said, where the client wants to know."""
        if self.settings.audio.input.transcription is not None:
            await self.transcripts.done(item)

    async def _stepped(self, step: Step) -> None:
        """Tell what the assistant does."""
        await self.send("x.assistant", step=as_json(step))

    def _described(self) -> dict[str, Any]:
        return described(self.settings, self.id, (self.parts.final or self.parts.recogniser).name)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
