"""How the memory of each model of the glasses grows while it is used, apart from the server.

    python bench/glasses/memory.py [--calls 200] [--keep]

Each model works in a process of its own, on sentences of `ayllu glasses bench` cut at drawn lengths, so that it meets
sound and text of ever new lengths. Prints one JSON object: resident MiB when it was loaded and after each tenth of the
calls.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.data.archive import default_cache
from ayllu.device.bench.turns import SENTENCES, make_turns, room

MODELS = ("moonshine", "whisper", "smart turn", "piper")
TENTHS = 10


def resident() -> float:
    """MiB."""
    status = Path("/proc/self/status").read_text()
    return round(int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024, 1)


def working(model: str) -> Callable[[], object]:
    """The model, loaded; each call does another piece of work."""
    from ayllu.device.hear.moonshine import Moonshine
    from ayllu.device.hear.turn import SmartTurn
    from ayllu.device.hear.whisper import Whisper
    from ayllu.device.speak.piper import Piper

    cache, draw = default_cache(), random.Random(0)
    if model == "piper":
        voice = Piper(cache, threads=1)
        texts = [sentence.replace("\u2026 ", "") for sentence in SENTENCES]
        return lambda: voice.say(" ".join(draw.sample(texts, draw.choice((1, 1, 1, 2)))), speed=draw.uniform(0.9, 1.1))
    made = subprocess.run([sys.executable, __file__, "--sounds"], stdout=subprocess.PIPE, check=True).stdout
    sounds = [np.frombuffer(bytes.fromhex(line), np.float32) for line in made.decode().splitlines()]
    work: Callable[[Any], object] = {
        "moonshine": lambda: Moonshine(cache).transcribe,
        "whisper": lambda: Whisper(cache).transcribe,
        "smart turn": lambda: SmartTurn(cache).finished,
    }[model]()

    def call() -> object:
        sound = draw.choice(sounds)
        cut = sound[: int(len(sound) * draw.uniform(0.3, 1.0))]
        return work(np.concatenate([cut, room(draw.randrange(1, 8000), 0)]))

    return call


def used(model: str, calls: int) -> list[float]:
    """Resident MiB when loaded, and after each tenth."""
    call = working(model)
    found = [resident()]
    for _ in range(TENTHS):
        for _ in range(calls // TENTHS):
            call()
        found.append(resident())
    return found


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = ["| MiB | loaded | after a tenth | after half | at the end |", "|---|---|---|---|---|"]
    for model, sizes in figures["resident"].items():
        lines.append(f"| {model} | " + " | ".join(f"{sizes[place]:,.0f}" for place in (0, 1, 5, 10)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--model", choices=MODELS, help="only this one, in this process")
    parser.add_argument("--sounds", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sounds:
        from ayllu.device.speak.piper import Piper

        for turn in make_turns(len(SENTENCES), Piper(default_cache(), threads=1)):
            print(turn.audio.astype(np.float32).tobytes().hex())
        return
    if given.model:
        print(json.dumps(used(given.model, given.calls)))
        return
    found = {}
    for model in MODELS:
        command = [sys.executable, __file__, "--calls", str(given.calls), "--model", model]
        found[model] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    figures = {"calls": given.calls, "resident": found}
    print(json.dumps(figures, indent=1))
    if given.keep:
        keep("glasses/memory", figures, rounds=found, seed=0)


if __name__ == "__main__":
    main()
