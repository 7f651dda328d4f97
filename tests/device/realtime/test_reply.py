"""A response that is cancelled at any moment ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ayllu.device.realtime.formats import Pcm
from ayllu.device.realtime.reply import Reply
from ayllu.device.think.mind import Asked, Echo


@pytest.mark.parametrize("moments", range(6))
def test_a_response_that_is_cancelled_before_or_while_it_is_written_is_no_longer_under_way(moments: int) -> None:
    """One that was cancelled before its task had begun stayed in progress, and no other was begun in its session."""
    told: list[str] = []

    async def send(kind: str, **fields: Any) -> None:
        told.append(kind)
        await asyncio.sleep(0)

    async def scenario() -> Reply:
        parts: Any = None  # text only: nothing is spoken
        reply = Reply(
            parts=parts,
            mind=Echo(),
            send=send,
            asked=Asked(messages=[]),
            conversation=None,
            modality="text",
            form=Pcm(),
            speed=1.0,
            voice="none",
        )
        reply.start()
        for _ in range(moments):
            await asyncio.sleep(0)
        await reply.cancel("turn_detected")
        return reply

    reply = asyncio.run(scenario())
    assert reply.status in ("cancelled", "completed")
    assert told.count("response.created") == told.count("response.done") == (moments > 0)
