"""Time to quality: what transformers + AdamW reaches in ten minutes, and what ours reaches in five.

`python bench/speedrun.py` trains both on the everyday English of the recipe `cria`, seed by seed in turns, and prints
the held-out bits per byte of each; `--json` prints one object, and a picture is left in `.bench/`. Same model shape,
same rows in the same order, same machine. `--tune` looks for the peer's learning rate first, in runs of a fifth of its
time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from training.environments import FOLDER, python_with

from ayllu.data.archive import default_cache
from ayllu.data.tokens.loader import Loader
from ayllu.data.tokens.pack import Tokens
from ayllu.evals.likelihood.heldout import bits_per_byte
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.model.files import hf
from ayllu.recipes.stages import corpus as stages
from ayllu.text.tokenizer import Tokenizer

SHAPE = {"L": 3, "D": 192, "H": 3, "K": 1, "F": 512, "V": 4096, "T": 256}
"""What `cria` chooses for ten minutes of two cores."""
SOURCE = "everyday-english"
RATES = (0.0005, 0.001, 0.002, 0.004)
SETTINGS: dict[str, dict[str, Any]] = {
    # `batch`: rows in a step, until a share of the time; `warmup`: share of the time.
    "transformers": {"rate": 0.002, "batch": [[2.0, 16]], "warmup": 0.03},
    "ours": {"batch": [[2.0, 16]], "warmup": 0.05, "optimizer": {}},
}


class Race:
    """The corpus of both learners, and the runs."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads
        text = stages.corpus(sources=(SOURCE,), licence=None)
        tokenizer = stages.learn_tokenizer(text, size=SHAPE["V"])
        tokens = stages.tokenize(text, tokenizer, length=SHAPE["T"])
        made = resolve(tokens, Place(store=Store(folder / "store"), cache=default_cache()))
        opened = {handle: handle.stage.makes(artifact.folder) for handle, artifact in made.items()}
        self.tokens: Tokens = opened[tokens]
        self.tokenizer: Tokenizer = opened[tokenizer]
        self.heldout = [(d.source, d.text) for d in opened[text].documents("heldout")]

    def samples(self, seed: int) -> Path:
        """Every row once, in the loader's order for `seed`."""
        path = self.folder / f"samples-{seed}.npz"
        if not path.exists():
            loader = Loader(self.tokens, seed=seed)
            rows = self.tokens.header.sources[SOURCE].rows
            numbers = np.array([row for _, row in loader.locate(np.arange(rows))])
            ids = self.tokens.rows(SOURCE, numbers).astype(np.uint16)
            predicted = self.tokens.predicted(SOURCE, numbers)
            np.savez(path, ids=ids, predicted=predicted, bos=self.tokens.header.bos)
        return path

    def run(self, who: str, settings: dict[str, Any], *, minutes: float, seed: int) -> dict[str, Any]:
        """Train one learner, and measure what it left."""
        python = python_with("transformers") if who == "transformers" else Path(sys.executable)
        out = self.folder / f"{who}-{seed}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        job = {
            "who": who,
            "shape": SHAPE,
            "samples": str(self.samples(seed)),
            "seconds": 60 * minutes,
            "seed": seed,
            "out": str(out),
            "settings": settings,
            "threads": self.threads,
        }
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(self.threads)}
        command = [str(python), str(Path(__file__).parent / "training" / "learner.py"), json.dumps(job)]
        with (self.folder / "log").open("ab") as log:
            subprocess.run(command, check=True, env=environment, stderr=log, stdout=log)
        found = json.loads((out / "curve.json").read_text())
        measured = bits_per_byte(hf.load(out).eval(), self.tokenizer, self.heldout)[SOURCE]
        result = found | {"who": who, "seed": seed, "minutes": minutes, "bits_per_byte": measured.value}
        say(
            f"{who} seed {seed}, {minutes:g} min, {json.dumps(settings)}: {measured.value:.4f} bits per byte, "
            f"{result['steps']} steps, {result['tokens'] / result['seconds']:,.0f} tokens/s"
        )
        return result


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Training loss by minutes, smoothed, and where each run ends on held-out text."""
    from matplotlib.figure import Figure

    colours = {"ours": "#1f6f8b", "transformers": "#c8553d"}
    figure = Figure(figsize=(8.4, 3.8), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for run in runs:
        seconds, losses = np.array(run["curve"]).T
        window = max(len(losses) // 50, 1)
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        left.plot(seconds[window - 1 :] / 60, smooth, color=colours[run["who"]], linewidth=1, alpha=0.8)
        right.plot(run["minutes"], run["bits_per_byte"], "o", color=colours[run["who"]], alpha=0.8)
    left.set(xlabel="minutes of training", ylabel="training loss, nats per token", ylim=(3.0, 5.0))
    peer = statistics.mean(run["bits_per_byte"] for run in runs if run["who"] == "transformers")
    right.axhline(peer, color=colours["transformers"], linewidth=0.8, linestyle="--")
    right.set(
        xlabel="minutes of training", ylabel="held-out bits per byte", xlim=(0, 1.2 * max(r["minutes"] for r in runs))
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    for who, name in (("ours", "Ayllu"), ("transformers", "transformers + AdamW")):
        right.plot([], [], "o", color=colours[who], label=name)
    right.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--minutes", type=float, default=10.0, help="the peer's time; ours has half of it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help="look for the peer's learning rate first")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--try-ours", metavar="JSON", help="one run of ours with these settings, and no more")
    parser.add_argument("--seed", type=int, default=100, help="of --try-ours and --tune: none that is measured")
    given = parser.parse_args()
    folder = FOLDER / "speedrun"
    folder.mkdir(parents=True, exist_ok=True)
    race = Race(folder, given.threads)
    if given.try_ours:
        race.run("ours", SETTINGS["ours"] | json.loads(given.try_ours), minutes=given.minutes / 2, seed=given.seed)
        return
    peer = SETTINGS["transformers"]
    if given.tune:
        tried = {
            rate: race.run("transformers", peer | {"rate": rate}, minutes=given.minutes / 5, seed=given.seed)
            for rate in RATES
        }
        peer = peer | {"rate": min(tried, key=lambda rate: tried[rate]["bits_per_byte"])}
    runs = []
    for seed in range(given.seeds):
        runs.append(race.run("transformers", peer, minutes=given.minutes, seed=seed))
        runs.append(race.run("ours", SETTINGS["ours"], minutes=given.minutes / 2, seed=seed))
    draw(runs, folder / "speedrun.png")
    sides = {who: [run["bits_per_byte"] for run in runs if run["who"] == who] for who in SETTINGS}
    result = {
        "shape": SHAPE,
        "settings": {"transformers": peer, "ours": SETTINGS["ours"]},
        "bits_per_byte": sides,
        "mean": {who: statistics.mean(values) for who, values in sides.items()},
        "reached_in_half_the_time": all(o <= t for o, t in zip(sides["ours"], sides["transformers"], strict=True)),
        "runs": [{key: run[key] for key in ("who", "seed", "minutes", "steps", "tokens", "seconds")} for run in runs],
        "picture": str(folder / "speedrun.png"),
    }
    if given.json:
        print(json.dumps(result))
        return
    for who, minutes in (("transformers", given.minutes), ("ours", given.minutes / 2)):
        values = "  ".join(f"{value:.4f}" for value in sides[who])
        print(f"{who:14}{minutes:5g} min   {values}   mean {result['mean'][who]:.4f} bits per byte")


if __name__ == "__main__":
    main()
