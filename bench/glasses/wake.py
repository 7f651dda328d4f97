"""How often the phrase that wakes is missed, and how often something else is taken for it.

    python bench/glasses/wake.py [--phrase "okay glasses"] [--keep]

Each sentence of `ayllu glasses bench` is said behind the phrase and without it, by voices of espeak-ng and by Piper's,
clean and in noise at 10 dB, and written down by the recogniser that follows the speaker. Prints one JSON object: misses
by voice, and for several thresholds misses and false accepts, these by the hour of speech without the phrase.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.data.archive import default_cache
from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples, from_pcm16, resample
from ayllu.device.bench.turns import SENTENCES
from ayllu.device.hear.moonshine import Moonshine
from ayllu.device.hear.wake import LIKE, likenesses
from ayllu.device.speak.piper import Piper

ESPEAK = ("en-us", "en-gb", "en-gb-scotland", "en-us+f3", "en-gb+m5")
NEAR = (
    "Where are my glasses?",
    "The glasses are okay.",
    "Okay, the glasses are over there.",
    "Okay, classes begin at nine.",
    "He wears glasses, okay?",
    "Okay.",
)
"""Sentences without the phrase that are made of its words."""
THRESHOLDS = (0.75, 0.8, 0.85, LIKE, 0.92, 0.95, 1.0)
DECIBELS = 10.0


def espeak(voice: str, text: str) -> Samples:
    """A sentence by espeak-ng."""
    done = subprocess.run(["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True)
    with wave.open(io.BytesIO(done.stdout)) as file:
        return resample(from_pcm16(file.readframes(file.getnframes())), file.getframerate(), RATE)


def voices() -> Iterator[tuple[str, Any]]:
    """By name, what says a text."""
    for voice in ESPEAK:
        yield f"espeak-ng {voice}", lambda text, voice=voice: espeak(voice, text)
    piper = Piper(default_cache(), threads=1)
    for speed in (0.9, 1.1):
        yield (
            f"{piper.name} at {speed:g}",
            lambda text, speed=speed: resample(piper.say(text, speed=speed), piper.rate, RATE),
        )


def noisy(audio: Samples, seed: int) -> Samples:
    """With white noise `DECIBELS` below the speech."""
    noise = np.random.default_rng(seed).standard_normal(len(audio), dtype=np.float32)
    level = np.sqrt(float((audio**2).mean())) * 10 ** (-DECIBELS / 20)
    return np.asarray(audio + noise * level, np.float32)


def likeness(text: str, phrase: str) -> float:
    """The best of a text."""
    return max((like for like, _, _ in likenesses(text, phrase)), default=0.0)


def measured(phrase: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures, and each sentence that was said."""
    ears, said = Moonshine(default_cache()), []
    for name, say in voices():
        texts = [(sentence.replace("\u2026 ", ""), False) for sentence in (*SENTENCES, *NEAR)]
        texts += [(f"{phrase.capitalize()}, {text[0].lower()}{text[1:]}", True) for text, _ in texts[: len(SENTENCES)]]
        for seed, (text, with_phrase) in enumerate(texts):
            clean = say(text)
            for noise, audio in ((False, clean), (True, noisy(clean, seed))):
                heard = ears.transcribe(np.concatenate([np.zeros(RATE // 5, np.float32), audio]))
                one = {"voice": name, "noise": noise, "phrase": with_phrase, "said": text, "heard": heard}
                said.append({**one, "like": round(likeness(heard, phrase), 4), "seconds": round(len(audio) / RATE, 2)})
    with_it = [one for one in said if one["phrase"]]
    without = [one for one in said if not one["phrase"]]
    hours = sum(one["seconds"] for one in without) / 3600
    curve = [
        {
            "threshold": threshold,
            "missed": sum(one["like"] < threshold for one in with_it) / len(with_it),
            "false_accepts": sum(one["like"] >= threshold for one in without),
        }
        for threshold in THRESHOLDS
    ]
    by_voice = {
        name: {
            kind: sum(one["like"] < LIKE for one in with_it if one["voice"] == name and one["noise"] is noise)
            for kind, noise in (("clean", False), ("noise", True))
        }
        for name in dict.fromkeys(one["voice"] for one in said)
    }
    figures = {
        "phrase": phrase,
        "said_by_each": len(SENTENCES),
        "missed_by_voice": by_voice,
        "curve": curve,
        "hours_without": round(hours, 3),
        "sentences_without": len(without),
    }
    return figures, said


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    count = figures["said_by_each"]
    lines = ["| voice | missed, clean | missed, noise at 10 dB |", "|---|---|---|"]
    for name, missed in figures["missed_by_voice"].items():
        lines.append(f"| {name} | {missed['clean']} of {count} | {missed['noise']} of {count} |")
    lines += ["", "| threshold | missed | false accepts |", "|---|---|---|"]
    for one in figures["curve"]:
        mark = " (in use)" if one["threshold"] == LIKE else ""
        false = f"{one['false_accepts']} in {figures['sentences_without']} sentences"
        lines.append(f"| {one['threshold']:.2f}{mark} | {100 * one['missed']:.1f} % | {false} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phrase", default="okay glasses")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    figures, said = measured(given.phrase)
    print(json.dumps(figures, indent=1))
    print(table(figures), file=sys.stderr)
    if given.keep:
        keep("glasses/wake", figures, rounds=said, seed=0)


if __name__ == "__main__":
    main()
