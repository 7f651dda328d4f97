"""What was said, as a session tells its client, where that wants to know."""

from __future__ import annotations

from ayllu.device.realtime.items import Item
from ayllu.device.realtime.reply import Send
from ayllu.serve.errors import ApiError

KIND = "conversation.item.input_audio_transcription"


class Transcripts:
    """The events of one session's transcripts."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def partly(self, item_id: str, text: str) -> None:
        """What has been said so far."""
        await self._send("x.input_audio_transcription.partial", item_id=item_id, text=text)

    async def done(self, item: Item) -> None:
        """All that was said in an item."""
        text, place = item.said["content"][0]["transcript"], {"item_id": item.id, "content_index": 0}
        await self._send(f"{KIND}.delta", **place, delta=text)
        usage = {"type": "duration", "seconds": round(item.milliseconds / 1000, 3)}
        await self._send(f"{KIND}.completed", **place, transcript=text, usage=usage)

    async def failed(self, item_id: str, why: str) -> None:
        """That nobody knows what was said."""
        error = ApiError(500, f"what was said could not be understood: {why}").body["error"]
        await self._send(f"{KIND}.failed", item_id=item_id, content_index=0, error=error)
