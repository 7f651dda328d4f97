"""What a session hears or sees in one language, told and said in another."""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from typing import Any

from ayllu.device.parts import Parts
from ayllu.device.realtime.items import Item
from ayllu.device.realtime.reply import Send
from ayllu.device.realtime.settings import ResponseSettings
from ayllu.device.speech import told_stuck
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError


class Translating:
    """Of one session; on from the start where the glasses translate."""

    def __init__(self, parts: Parts, send: Send) -> None:
        self._parts, self._send = parts, send
        self.on = parts.translator is not None

    @property
    def parts(self) -> Parts:
        """The parts with the voice of the target language, where there is one."""
        return dataclasses.replace(self._parts, voice=self._parts.other_voice or self._parts.voice)

    @property
    def response(self) -> ResponseSettings:
        """How a translation is given: aloud, or as text where no voice speaks the language."""
        return ResponseSettings() if self._parts.other_voice else ResponseSettings(output_modalities=["text"])

    async def switch(self, on: Any) -> None:
        """Translate from now on, or answer again."""
        if not isinstance(on, bool):
            raise ApiError(400, "on must be true or false", param="on", code="invalid_value")
        if self._parts.translator is None:
            raise ApiError(400, "these glasses translate nothing: start them with --translate", code="no_translator")
        self.on = on

    async def told(self, item: Item, text: str) -> str:
        """The text in the target language, which the client is told as the caption of an item."""
        translator = self._parts.translator
        assert translator is not None
        try:
            with told_stuck():
                found = await self._parts.translating.run(partial(translator.translate, text))
        except UserError as error:
            raise ApiError(503, str(error), code="no_translation") from None
        way = {"source": translator.source, "target": translator.target}
        await self._send("x.translation", item_id=item.id, **way, text=text, translation=found)
        return found

    async def seen(self, item: Item) -> None:
        """The writing in the pictures of an item, line by line."""
        lines = [one.what for scene in item.scenes for one in scene.seen if one.kind == "writing"]
        if self.on and lines:
            await self.told(item, ". ".join(re.sub(r"[.\s]+$", "", line) for line in lines) + ".")
