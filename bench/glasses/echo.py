"""Whether the glasses interrupt themselves where a client plays aloud, and whether they hear who speaks over them.

    python bench/glasses/echo.py [--keep]

Three answers are played 150 ms late into rooms of 0.15 and 0.4 s, 10 to 30 dB below what is played, beside a quiet
room's noise; four sentences in each of two voices begin over them, as loud as the answer. Heard by the real detector of
speech, as it is and behind the canceller. The delay is from the first loud sample of whoever speaks over the answer to
when speech counts as begun, beside the same without an answer. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import wave
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.data.archive import default_cache
from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples, from_pcm16, resample
from ayllu.device.bench.turns import room
from ayllu.device.hear.ear import Ear, Started
from ayllu.device.hear.echo import EchoCanceller, Playback
from ayllu.device.hear.vad import WINDOW, Silero
from ayllu.device.simulated.loudspeaker import Loudspeaker
from ayllu.device.simulated.noise import power
from ayllu.device.speak.piper import Piper

ANSWERS = (
    "The museum opens at nine in the morning and closes at six in the evening, and on Fridays it stays open longer.",
    "You left your keys on the kitchen table this morning, next to the letter from your brother about the meeting.",
    "To cook potatoes, wash them well, put them into cold water with some salt, and let them boil for a while.",
)
OVER = ("Stop, please.", "What time is it in London now?", "No, tell me about the other one.", "Turn the volume down.")
DOWN, ROOMS, DELAY = (10.0, 20.0, 30.0), (0.15, 0.4), 0.15
PIECE, LEAD, BEGINS = RATE // 10, RATE, 3 * RATE
LOUD = 0.02


def espeak(text: str) -> Samples:
    """Another voice than the answer's."""
    done = subprocess.run(["espeak-ng", "-v", "en-us+f3", "--stdout", text], capture_output=True, check=True)
    with wave.open(io.BytesIO(done.stdout)) as file:
        return resample(from_pcm16(file.readframes(file.getnframes())), file.getframerate(), RATE)


def microphone(answer: Samples, way: tuple[float, float], words: Samples, seed: int) -> tuple[Samples, Samples]:
    """What is heard while an answer is played, and what is left of it."""
    playback, loudspeaker = Playback(lambda: 0.0), Loudspeaker(down=way[0], reverberation=way[1], delay=DELAY)
    canceller = EchoCanceller(playback)
    sound = room((LEAD + len(answer) + RATE // 2) // PIECE * PIECE, seed)
    sound[BEGINS : BEGINS + len(words)] += words[: len(sound) - BEGINS]
    heard, left = [], []
    for at in range(0, len(sound), PIECE):
        if at == LEAD:
            playback.said("answer", answer)
            loudspeaker.play(answer)
        heard.append(sound[at : at + PIECE] + loudspeaker.heard(PIECE))
        left.append(canceller.push(heard[-1]))
    return np.concatenate(heard), np.concatenate(left)


def starts(detectors: Silero, sound: Samples) -> list[int]:
    """When speech counts as begun."""
    ear, found = Ear(detectors.stream()), []
    for at in range(0, len(sound), WINDOW):
        found += [ear.heard for event in ear.push(sound[at : at + WINDOW]) if isinstance(event, Started)]
        if ear.speaking and ear.silence > 500:
            ear.end()
    return found


def share(detectors: Silero, sound: Samples) -> float:
    """Of the windows, how many are speech."""
    stream = detectors.stream()
    return float(np.mean([stream.push(sound[at : at + WINDOW]) > 0.5 for at in range(0, len(sound) - WINDOW, WINDOW)]))


def aloud(detectors: Silero, answers: list[Samples], way: tuple[float, float]) -> dict[str, Any]:
    """Answers beside which nobody speaks."""
    rows = []
    for seed, answer in enumerate(answers):
        heard, left = (sound[LEAD:] for sound in microphone(answer, way, np.zeros(0, np.float32), seed))
        rows.append(
            {
                "decibels": float(10 * np.log10(np.mean(heard**2) / np.mean(left**2))),
                "speech": [share(detectors, heard), share(detectors, left)],
                "interrupted": [len(starts(detectors, heard)), len(starts(detectors, left))],
            }
        )
    return {"down": way[0], "room": way[1], "answers": rows}


def over(detectors: Silero, answers: list[Samples], words: list[Samples], way: tuple[float, float]) -> dict[str, Any]:
    """Answers that somebody speaks over: milliseconds until that is known, and without an answer; None if it is not."""
    delays = []
    for number, said in enumerate(words):
        answer = answers[number % len(answers)]
        said = said * np.sqrt(power(answer) / power(said))
        begun = BEGINS + int(np.flatnonzero(np.abs(said) > LOUD)[0])
        silence = np.zeros(len(answer), np.float32)
        pair = []
        for played in (answer, silence):
            _, left = microphone(played, way, said, number)
            found = [at for at in starts(detectors, left[: BEGINS + len(said)]) if at > BEGINS]
            pair.append(round(1000 * (found[0] - begun) / RATE) if found else None)
        delays.append(pair)
    return {"down": way[0], "room": way[1], "delays": delays}


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        "| echo | power taken away | speech, before and after | answers that interrupt themselves, before and after "
        "| not heard over it | ms until heard, median (without an answer) |",
        "|---|---|---|---|---|---|",
    ]
    for down, row in figures["rows"].items():
        speech = " and ".join(f"{100 * value:.0f} %" for value in row["speech"])
        told = " and ".join(str(value) for value in row["interrupted"])
        lines.append(
            f"| {down} dB down | {row['decibels']:.0f} dB | {speech} | {told} of {row['answers']} "
            f"| {row['missed']} of {row['spoken_over']} | {row['delay']:.0f} ({row['delay_alone']:.0f}) |"
        )
    return "\n".join(lines)


def summed(alone: list[dict[str, Any]], both: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one loudness."""
    answers = [answer for one in alone for answer in one["answers"]]
    delays = [pair for one in both for pair in one["delays"]]
    return {
        "answers": len(answers),
        "decibels": round(float(np.mean([answer["decibels"] for answer in answers])), 1),
        "speech": np.mean([answer["speech"] for answer in answers], axis=0).round(3).tolist(),
        "interrupted": np.sum([[many > 0 for many in answer["interrupted"]] for answer in answers], axis=0).tolist(),
        "spoken_over": len(delays),
        "missed": sum(pair[0] is None for pair in delays),
        "delay": float(np.median([pair[0] for pair in delays if pair[0] is not None])),
        "delay_alone": float(np.median([pair[1] for pair in delays if pair[1] is not None])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    voice, detectors = Piper(default_cache(), threads=1, steady=True), Silero(default_cache())

    def say(text: str) -> Samples:
        return resample(voice.say(text), voice.rate, RATE)

    answers = [say(text) for text in ANSWERS]
    words = [*map(say, OVER), *map(espeak, OVER)]
    ways = [(down, size) for down in DOWN for size in ROOMS]
    alone = [aloud(detectors, answers, way) for way in ways]
    both = [over(detectors, answers, words, way) for way in ways]
    rows = {
        f"{down:.0f}": summed(*([one for one in kind if one["down"] == down] for kind in (alone, both)))
        for down in DOWN
    }
    print(json.dumps({"rows": rows}, indent=1))
    print(table({"rows": rows}), file=sys.stderr)
    if given.keep:
        peers = {"pywebrtc-audio": version("pywebrtc-audio")}
        keep("glasses/echo", {"rows": rows}, rounds={"alone": alone, "over": both}, seed=0, peers=peers)


if __name__ == "__main__":
    main()
