"""The ledger and the modes of consent, through the protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openai
import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

from ayllu.device.adapters.wyoming import Wyoming
from ayllu.device.audio.pcm import resample, to_pcm16
from ayllu.device.privacy.consent import Consent
from ayllu.device.privacy.ledger import Ledger
from ayllu.lab.error import UserError
from ayllu.serve.audio.sound_files import write_wav
from support.serving.glasses import WIRE, Client, run, session, speech, wearing

if TYPE_CHECKING:
    from ayllu.device.parts import Parts

QUIET = np.zeros(2 * WIRE, np.float32)


def ayllu(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ayllu.cli", "glasses", *arguments, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_captured_is_in_the_ledger_and_no_word_of_it(parts: Parts, tmp_path: Path) -> None:
    async def scenario(address: str) -> None:
        async with session(address, audio={"input": {"turn_detection": None}}) as client:
            await client.play(speech(parts, "Where did I leave my keys?"))
            await client.send("input_audio_buffer.commit")
            await client.until("conversation.item.done")

    with wearing(parts, ledger=Ledger(tmp_path)) as address:
        run(scenario(address))
    (entry,) = Ledger(tmp_path).entries()
    assert entry.content is not None
    assert entry.content["what"] == "microphone" and 1 < entry.content["seconds"] < 4
    assert entry.content["why"] == "the buffer was committed"
    assert "keys" not in Ledger(tmp_path).path.read_text()
    assert (Ledger(tmp_path).path.stat().st_mode & 0o777) == 0o600
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".lock", "")]
    assert kept == []


def test_sound_that_came_by_audio_or_wyoming_is_in_the_ledger_too(parts: Parts, tmp_path: Path) -> None:
    ledger, sound = Ledger(tmp_path), resample(speech(parts, "Where did I leave my keys?"), WIRE, 16_000)
    file = ("keys.wav", write_wav(sound, 16_000), "audio/wav")
    with wearing(parts, ledger=ledger) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="k") as client:
        assert "keys" in client.audio.transcriptions.create(model="whisper-1", file=file).text

    async def by_wyoming() -> str:
        form: dict[str, Any] = {"rate": 16_000, "width": 2, "channels": 1}
        async with (
            await Wyoming(parts, ledger).start(0) as server,
            AsyncTcpClient("127.0.0.1", server.sockets[0].getsockname()[1]) as client,
        ):
            await client.write_event(AudioStart(**form).event())
            await client.write_event(AudioChunk(audio=to_pcm16(sound), **form).event())
            await client.write_event(AudioStop().event())
            event = await client.read_event()
            assert event is not None
            return str(event.data.get("text"))

    assert "keys" in run(by_wyoming())
    contents = [entry.content for entry in ledger.entries() if entry.content is not None]
    assert [(one["what"], one["seconds"] > 1, one["went"]) for one in contents] == [
        ("sound", True, [f"{parts.names['final recognition']} on this machine"])
    ] * 2
    assert ["Wyoming" in one["why"] for one in contents] == [False, True]
    assert "keys" not in ledger.path.read_text()
    ledger.path.unlink()
    ledger.path.mkdir()  # as a disk that says no
    assert run(by_wyoming()).startswith("the ledger cannot be written, so nothing was taken")


def test_a_line_that_is_changed_left_out_or_moved_is_found(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number in range(4):
        ledger.note(what="microphone", seconds=number)
    whole = ledger.path.read_text()
    lines = whole.splitlines()
    for wrong, line in (
        ([lines[0], lines[1].replace('"seconds": 1', '"seconds": 9'), *lines[2:]], 2),
        ([lines[0], *lines[2:]], 2),
        ([lines[0], lines[2], lines[1], lines[3]], 2),
        ([*lines[:3], "no json"], 4),
    ):
        ledger.path.write_text("\n".join(wrong) + "\n")
        with pytest.raises(UserError, match=f"line {line}: .*prove nothing"):
            ledger.entries()
    ledger.path.write_text(whole)
    assert [entry.content["seconds"] for entry in ledger.entries() if entry.content] == [0, 1, 2, 3]


def test_a_line_that_a_kill_cut_short_does_not_stop_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number in range(2):
        ledger.note(what="microphone", seconds=number)
    ledger.path.write_bytes(ledger.path.read_bytes()[:-30])
    ledger.note(what="camera", said="two\u2028lines")
    assert [entry.content and entry.content["what"] for entry in ledger.entries()] == ["microphone", "camera"]


def test_erasing_takes_the_content_and_leaves_the_chain(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for name in ("one", "two", "one"):
        ledger.note(what="microphone", session=name, secret="plant")
    done = ayllu(tmp_path, "erase", "--session", "one")
    assert (done.returncode, done.stdout) == (0, "2 lines erased\n"), done.stderr
    told = json.loads(ayllu(tmp_path, "ledger", "--json").stdout)
    assert [entry["content"] and entry["content"]["what"] for entry in told["entries"]] == [
        None,
        "microphone",
        None,
        "erased",
    ]
    assert ledger.path.read_text().count("plant") == 1
    assert ayllu(tmp_path, "erase").returncode == 2


def test_without_a_ledger_nothing_is_taken_and_the_session_lives_on(parts: Parts, tmp_path: Path) -> None:
    """A file stands where the ledger's folder should be, as a disk that is full would say no."""
    (tmp_path / "glasses").write_text("")

    async def scenario(address: str) -> Client:
        async with session(address, audio={"input": {"turn_detection": None}}) as client:
            await client.play(speech(parts, "Hello there."))
            await client.send("input_audio_buffer.commit")
            await client.until("error")
            await client.send("session.update", session={"type": "realtime"})
            await client.until("session.updated")
            return client

    with wearing(parts, ledger=Ledger(tmp_path)) as address:
        client = run(scenario(address))
    assert [event["error"]["code"] for event in client.events if event["type"] == "error"] == ["no_ledger"]
    assert "conversation.item.added" not in client.kinds()


def test_nothing_is_taken_before_somebody_has_said_yes(parts: Parts) -> None:
    async def scenario(address: str) -> Client:
        async with session(address) as client:
            for text in ("What is the weather like today?", "Yes, of course."):
                await client.play(np.concatenate([speech(parts, text), QUIET]))
                await client.until("x.consent")
                if text.startswith("What"):
                    await client.until("response.done")
            await client.play(np.concatenate([speech(parts, "What time is it in London now?"), QUIET]))
            await client.until("response.done", lambda event: event["response"]["status"] == "completed")
            return client

    with wearing(parts, consent="ask") as address:
        client = run(scenario(address))
    said = [event["transcript"] for event in client.events if event["type"] == "response.output_audio_transcript.done"]
    assert said[0].startswith("May I listen?") and "London" in said[-1]
    assert [event["given"] for event in client.events if event["type"] == "x.consent"] == [False, True]
    users = [event for event in client.events if event["type"] == "input_audio_buffer.committed"]
    assert len(users) == 1


def test_push_to_talk_only_refuses_to_listen_all_the_time(parts: Parts) -> None:
    async def scenario(address: str) -> dict[str, Any]:
        async with session(address) as client:
            vad = {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}
            await client.send("session.update", session=vad)
            return await client.until("error")

    with wearing(parts, consent="push") as address:
        assert run(scenario(address))["error"]["code"] == "consent_required"


def test_a_no_is_no_leave() -> None:
    assert [Consent("ask").answer(text) for text in ("Yes.", "Okay, go ahead.", "No.", "Yes, no, stop.", "Hm.")] == [
        True,
        True,
        False,
        False,
        False,
    ]
