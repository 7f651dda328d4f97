"""Home Assistant's protocol, with its own client."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import numpy as np
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeVoice

from ayllu.device.adapters.wyoming import Wyoming
from ayllu.device.audio.pcm import from_pcm16, resample, to_pcm16
from support.serving.glasses import WIRE, speech

if TYPE_CHECKING:
    from ayllu.device.parts import Parts


def talk(parts: Parts, work: Any) -> Any:
    async def scenario() -> Any:
        async with asyncio.timeout(60), await Wyoming(parts).start(0) as server:
            port = server.sockets[0].getsockname()[1]
            async with AsyncTcpClient("127.0.0.1", port) as client:
                return await work(client)

    coroutine: Coroutine[Any, Any, Any] = scenario()
    return asyncio.run(coroutine)


def test_what_it_is_told_and_understood_and_spoken(parts: Parts) -> None:
    sentence = "Please read the sign in front of me."
    mono = resample(speech(parts, sentence, after=0.5), WIRE, 22_050)
    stereo = np.repeat(mono, 2)

    async def work(client: AsyncTcpClient) -> tuple[Any, str, np.ndarray, int, Any]:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())  # type: ignore[arg-type]
        form: dict[str, Any] = {"rate": 22_050, "width": 2, "channels": 2}
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(**form).event())
        for at in range(0, len(stereo), 2_048):
            await client.write_event(AudioChunk(audio=to_pcm16(stereo[at : at + 2_048]), **form).event())
        await client.write_event(AudioStop().event())
        heard = Transcript.from_event(await client.read_event()).text  # type: ignore[arg-type]
        await client.write_event(Synthesize(text="Hello there. The lift is on the left.").event())
        pieces, rate = [], 0
        while (event := await client.read_event()) is not None and not AudioStop.is_type(event.type):
            if AudioChunk.is_type(event.type):
                chunk = AudioChunk.from_event(event)
                pieces.append(from_pcm16(chunk.audio))
                rate = chunk.rate
        await client.write_event(Synthesize(text="Olá", voice=SynthesizeVoice(language="pt")).event())
        return info, heard, np.concatenate(pieces), rate, await client.read_event()

    info, heard, sound, rate, refused = talk(parts, work)
    assert info.asr[0].models[0].languages == info.tts[0].voices[0].languages == ["en"]
    assert "read the sign" in heard
    assert 1.2 < len(sound) / rate < 5
    assert Error.is_type(refused.type) and "only English" in refused.data["text"]


def test_what_is_no_event_ends_the_connection_and_not_the_server(parts: Parts) -> None:
    async def scenario() -> bytes:
        async with asyncio.timeout(30), await Wyoming(parts).start(0) as server:
            port = server.sockets[0].getsockname()[1]
            for sent in (b"GET / HTTP/1.1\r\n\r\n", b'{"type": 3}\n', b'{"type": "a", "payload_length": 99999999}\n'):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                assert b"no Wyoming event" in await reader.read()
                writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b'{"type": "describe"}\n')
            line = await reader.readline()
            writer.close()
            return line

    assert b'"info"' in asyncio.run(scenario())
