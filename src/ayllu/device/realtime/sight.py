"""What a session sees: pictures become statements, and a question that needs one asks the client's camera for it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from ayllu.device.parts import Parts
from ayllu.device.realtime.captures import Captures
from ayllu.device.realtime.items import Conversation, Item
from ayllu.device.see.answer import Grounded, about_sight, as_json
from ayllu.device.see.picture import NoPicture, from_data_url
from ayllu.device.see.taught import KEPT, shapes_in_sight
from ayllu.device.speech import told_stuck
from ayllu.device.think.mind import Mind, Saying
from ayllu.device.think.sighted import Sighted
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError

PATIENCE = 5.0
"""Seconds that a camera has to send the picture that it was asked for."""
LOOKING = 30.0
"""Seconds more than other parts that the eyes have: the first picture loads them, and a large one has much to read."""
NO_PICTURE = "I cannot see: the camera gave no picture."
Send = Callable[..., Coroutine[Any, Any, None]]


class Sight:
    """The eyes of a session. `send` takes an event's type and its fields."""

    def __init__(self, parts: Parts, mind: Mind, send: Send, captures: Captures) -> None:
        self._parts, self._mind, self._send, self._captures = parts, mind, send, captures
        self._camera = False
        """Whether the client has said that it can send pictures when it is asked to."""
        self._awaited: asyncio.Future[None] | None = None
        self._coming = 0
        """Pictures that have come and are not told of yet: to look at one may take longer than its way here."""
        self._newest: weakref.ref[Item] | None = None
        """The item with the newest picture, until the client deletes it: of that one alone more than statements is
        kept."""

    @contextmanager
    def taking(self) -> Iterator[None]:
        """While an item is taken, which may hold the picture that is waited for."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def look(self, item: Item, *, allowed: bool) -> None:
        """Look at the pictures of an item, whose data is not kept; ApiError where one cannot be looked at."""
        pictures = [part for part in item.said.get("content", []) if part["type"] == "input_image"]
        if not pictures:
            return
        if self._parts.eyes is None:
            raise ApiError(400, "pictures are not looked at here: a model for it is missing", code="no_eyes")
        if not allowed:
            raise ApiError(403, "nobody has said yes yet, so no picture is taken", code="consent_required")
        for part in pictures:
            try:
                data = from_data_url(part.pop("image_url"))
                await self._note(len(data))
                with told_stuck():
                    item.scenes.append(await self._parts.seeing.within(LOOKING, partial(self._parts.view, data)))
            except NoPicture as error:
                raise ApiError(400, str(error), param="item.content", code="invalid_value") from None
            except UserError as error:
                raise ApiError(503, str(error), code="no_eyes") from None

    async def tell(self, item: Item) -> None:
        """Tell what was seen in an item, and that a picture which was awaited has come.

        Of pictures before it the statements stay.
        """
        if item.scenes:
            before = self._newest() if self._newest is not None else None
            if before is not None:
                before.scenes = [replace(scene, glimpse=None) for scene in before.scenes]
            item.scenes[:-1] = [replace(scene, glimpse=None) for scene in item.scenes[:-1]]
            self._newest = weakref.ref(item)
        for scene in item.scenes:
            seen = [one.body() for one in scene.seen]
            await self._send("x.seen", item_id=item.id, statements=seen, faces_blurred=scene.faces)
        if item.scenes and self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    async def switch(self, on: Any) -> None:
        """The client's camera is on, or not."""
        if not isinstance(on, bool):
            raise ApiError(400, "on must be true or false", param="on", code="invalid_value")
        self._camera = on

    @property
    def asking(self) -> bool:
        """Whether a picture is waited for."""
        return self._awaited is not None

    def due(self, conversation: Conversation) -> bool:
        """Whether the camera is to be asked before the question is answered."""
        words, _, fresh = conversation.question()
        return self._camera and not fresh and self._concerned(words)

    def mind_for(self, conversation: Conversation) -> Mind | None:
        """What answers a question about a picture; None where none is asked about."""
        words, scene, fresh = conversation.question()
        if scene is None or not (fresh or self._concerned(words)):
            return None
        return Sighted(mind=self._mind, scene=scene, question=words, told=self.grounded, seeing=self._parts.seeing)

    def _concerned(self, words: str) -> bool:
        """Whether words that come without a picture ask what can be seen, of what can be told here."""
        return about_sight(words) or (self._parts.taught is not None and shapes_in_sight(words))

    async def ask(self, conversation: Conversation) -> Mind:
        """Ask the client's camera for a picture; what answers once it has come, or has not."""
        awaited = self._awaited = asyncio.get_running_loop().create_future()
        try:
            await self._send("x.look", seconds=PATIENCE)
            await asyncio.wait({awaited}, timeout=PATIENCE)
            while self._coming and not awaited.done():
                await asyncio.wait({awaited}, timeout=0.1)
        finally:
            self._awaited = None
        return self.mind_for(conversation) or Saying(NO_PICTURE, self._mind.name)

    async def grounded(self, answer: Grounded) -> None:
        """Tell what an answer rests on."""
        await self._send("x.grounded", **as_json(answer))

    async def _note(self, size: int) -> None:
        assert self._parts.eyes is not None
        taught = self._parts.taught
        went = [*self._parts.eyes.names.values(), *([taught.name] if taught else [])]
        cells = f", and {KEPT}" if taught else ""
        kept = f"what was seen in it, until the session ends{cells}; faces were blurred first"
        await self._captures.note("camera", "the client sent a picture", went, kept, bytes=size)
