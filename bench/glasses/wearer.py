"""How often a bystander is taken for the wearer, and the wearer for a bystander.

    python bench/glasses/wearer.py [--sounds FOLDER] [--keep]

Voices of Kokoro, flite, espeak-ng and Piper each enrol with three sentences and say four others, clean and in white
noise at 10 dB. The threshold is read off the development voices; every figure is of the other voices. Sounds are kept
in FOLDER, for Kokoro takes minutes. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.data.archive import default_cache
from ayllu.device.audio.mel import RATE
from ayllu.device.audio.pcm import Samples, from_pcm16, resample
from ayllu.device.hear.campplus import CamPlus
from ayllu.device.hear.wearer import LIKE, enrolled
from ayllu.device.simulated.noise import mixed
from ayllu.device.speak.kokoro import Kokoro, KokoroModel
from ayllu.device.speak.piper import Piper

SENTENCES = (
    "Could you tell me when the next train to the city leaves?",
    "I left my keys on the kitchen table this morning.",
    "Please read the sign in front of me.",
    "What is the weather going to be like tomorrow?",
    "Remind me to call my mother at seven.",
    "How far is it to the station from here?",
    "Turn the volume down a little, please.",
)
ENROLLED = 3
"""Of the sentences; the others are told apart."""
# fmt: off
KOKORO = (
    "af_alloy", "af_aoede", "af_bella", "af_heart", "af_jessica", "af_kore", "af_nicole", "af_nova", "af_river",
    "af_sarah", "af_sky", "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam", "am_michael", "am_onyx", "am_puck",
    "am_santa", "bf_alice", "bf_emma", "bf_isabella", "bf_lily", "bm_daniel", "bm_fable", "bm_george", "bm_lewis",
)
# fmt: on
FLITE, ESPEAK = ("kal16", "awb", "rms", "slt"), ("en-us", "en-gb+m5", "en-gb-scotland", "en-us+f3")
DEVELOPMENT = 3
"""Every third voice of each program is for development."""
DECIBELS = 10.0
ROUNDS = 1000


def program(*command: str) -> Samples:
    """What a program of speech writes to its output, at 16 kHz."""
    done = subprocess.run(command, capture_output=True, check=True)
    with wave.open(io.BytesIO(done.stdout)) as file:
        return resample(from_pcm16(file.readframes(file.getnframes())), file.getframerate(), RATE)


def flite(voice: str, text: str) -> Samples:
    """flite writes a whole header only into a file."""
    return program(
        "sh", "-c", 'flite -voice "$0" -t "$1" -o /tmp/ayllu-flite.wav && cat /tmp/ayllu-flite.wav', voice, text
    )


def voices() -> Iterator[tuple[str, Callable[[str], Samples]]]:
    """By name, what says a text; each is loaded when it first speaks."""
    cache, made = default_cache(), {}

    def kokoro(voice: str, text: str) -> Samples:
        model = made.setdefault("kokoro", None) or KokoroModel(cache)
        made["kokoro"] = model
        speaker = Kokoro(model, cache, voice, "en-gb" if voice.startswith("b") else "en-us")
        return resample(speaker.say(text), speaker.rate, RATE)

    def piper(text: str) -> Samples:
        speaker = Piper(cache, threads=1)
        return resample(speaker.say(text), speaker.rate, RATE)

    for voice in KOKORO:
        yield f"kokoro {voice}", lambda text, voice=voice: kokoro(voice, text)
    for voice in FLITE:
        yield f"flite {voice}", lambda text, voice=voice: flite(voice, text)
    for voice in ESPEAK:
        yield f"espeak-ng {voice}", lambda text, voice=voice: program("espeak-ng", "-v", voice, "--stdout", text)
    yield "piper joe", piper


def sounds(folder: Path | None) -> dict[str, list[Samples]]:
    """What each voice says."""
    found: dict[str, list[Samples]] = {}
    for name, say in voices():
        for number, sentence in enumerate(SENTENCES):
            path = folder / f"{name}.{number}.npy" if folder else None
            if path is not None and path.exists():
                sound = np.load(path)
            else:
                sound = say(sentence)
                if path is not None:
                    np.save(path, sound)
            found.setdefault(name, []).append(sound)
    return found


def likenesses(said: Mapping[str, list[Samples]]) -> np.ndarray:
    """How like each wearer each sentence is: wearer, speaker, sentence, clean or in noise."""
    network = CamPlus(default_cache())
    profiles = []
    for sentences in said.values():
        profile = enrolled(sentences[:ENROLLED], network)
        assert profile is not None, "a voice was not like itself"
        profiles.append(profile)
    heard = [
        [
            [network.of(sound) for sound in (clean, mixed(clean, "room", DECIBELS, seed))]
            for seed, clean in enumerate(sentences[ENROLLED:])
        ]
        for sentences in said.values()
    ]
    return np.einsum("we,sjne->wsjn", np.array(profiles), np.array(heard))


def errors(likes: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
    """Equal error rate of the chosen voices, each wearer against all others, and the likeness that gives it."""
    same = np.concatenate([likes[voice, voice].ravel() for voice in chosen])
    pairs = [(wearer, other) for wearer in chosen for other in chosen if wearer != other]
    others = np.concatenate([likes[wearer, other].ravel() for wearer, other in pairs])
    same.sort()
    others.sort()
    at = np.unique(np.concatenate([same, others]))
    rejected = np.searchsorted(same, at) / len(same)
    accepted = 1 - np.searchsorted(others, at) / len(others)
    best = int(np.argmin(np.abs(rejected - accepted)))
    return float((rejected[best] + accepted[best]) / 2), float(at[best])


def interval(likes: np.ndarray, chosen: np.ndarray) -> list[float]:
    """95 % of the equal error rate over voices drawn again."""
    random = np.random.default_rng(0)
    drawn = [errors(likes, random.choice(chosen, len(chosen)))[0] for _ in range(ROUNDS)]
    return [round(float(value), 4) for value in np.percentile(drawn, [2.5, 97.5])]


def development(names: list[str]) -> np.ndarray:
    """Which voices the threshold is read off: some of each program."""
    programs = [name.split()[0] for name in names]
    return np.array([programs[:place].count(one) % DEVELOPMENT == 1 for place, one in enumerate(programs)])


def measured(said: Mapping[str, list[Samples]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures, and the likenesses that they come from."""
    names, likes = list(said), likenesses(said)
    developing = development(names)
    mine, theirs = np.flatnonzero(developing), np.flatnonzero(~developing)
    rows = {}
    for name, part in (("clean", likes[..., :1]), ("in noise at 10 dB", likes[..., 1:]), ("both", likes)):
        same = np.concatenate([part[voice, voice].ravel() for voice in theirs])
        others = np.concatenate([part[a, b].ravel() for a in theirs for b in theirs if a != b])
        rows[name] = {
            "equal_error_rate": round(errors(part, theirs)[0], 4),
            "interval": interval(part, theirs),
            "wearer_passed_over": round(float((same < LIKE).mean()), 4),
            "bystander_taken": round(float((others >= LIKE).mean()), 4),
            "turns": len(same),
            "turns_of_others": len(others),
        }
    rate, threshold = errors(likes, mine)
    figures = {
        "threshold": LIKE,
        "development": {"voices": len(mine), "equal_error_rate": round(rate, 4), "threshold": round(threshold, 3)},
        "voices": len(theirs),
        "rows": rows,
    }
    rounds = {"voices": names, "development": [names[place] for place in mine], "likenesses": likes.round(3).tolist()}
    return figures, rounds


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = ["| | equal error rate | 95 % | wearer passed over | bystander taken |", "|---|---|---|---|---|"]
    for name, row in figures["rows"].items():
        low, high = (100 * value for value in row["interval"])
        passed, taken = 100 * row["wearer_passed_over"], 100 * row["bystander_taken"]
        lines.append(
            f"| {name} | {100 * row['equal_error_rate']:.1f} % | {low:.1f} to {high:.1f} % "
            f"| {passed:.1f} % of {row['turns']} | {taken:.1f} % of {row['turns_of_others']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=Path)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    if given.sounds:
        given.sounds.mkdir(parents=True, exist_ok=True)
    figures, rounds = measured(sounds(given.sounds))
    print(json.dumps(figures, indent=1))
    print(table(figures), file=sys.stderr)
    if given.keep:
        keep("glasses/wearer", figures, rounds=rounds, seed=0)


if __name__ == "__main__":
    main()
