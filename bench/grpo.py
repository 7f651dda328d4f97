"""What GRPO teaches SmolLM2 about sums, by seed: the rewards of every step, held-out sums before and after.

    python bench/grpo.py --seeds 101 102 103 --steps 60 [--matrices muon --group 8 --batch 8 --lr 1e-3] [--keep]

Half an hour a seed on two cores without bf16. A seed that is done is not run again: rounds are kept in
`build/bench-grpo/`, so a run that was killed, or one with more seeds, goes on where it was. Only GRPO's own stage
runs, not the whole recipe; the sums that are measured on are those of `ayllu run smol`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keep import ROOT, keep

ITEMS = 200
LONG_ITEMS = 100
PLAIN = 900
"""Rows of the text that the model must not diverge on."""


def learn(seed: int, steps: int, lr: float, method: Any, precision: str, folder: Path) -> dict[str, Any]:
    """One run: its rewards, and which held-out sums are right before and after."""
    from ayllu.data.archive import default_cache
    from ayllu.data.conversations.reasoning import distinct_items
    from ayllu.evals.skills.reasoning import score_reasoning
    from ayllu.model.files import hf
    from ayllu.recipes.adopt import adopt
    from ayllu.recipes.stages.dataset import plain_rows
    from ayllu.recipes.stages.methods import SUMS, Setting, sums
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.loop import train
    from ayllu.train.lora import LoraConfig, attach, detach
    from ayllu.train.machine import dtype_of
    from ayllu.train.objectives.grpo import read_rewards

    class Plain:
        def plain(self) -> list[list[int]]:
            return list(itertools.islice(plain_rows(tokenizer, default_cache()), PLAIN))

    adopted = adopt("smollm2").folder
    model, tokenizer = hf.load(adopted), Tokenizer.load(adopted)
    setting = Setting(
        model=model,
        tokenizer=tokenizer,
        dataset=Plain(),
        adopted=adopted,
        precision=precision,
        seed=seed,
        steps=steps,
        cache=default_cache(),
        scratch=folder,
    )

    def right() -> dict[str, list[bool]]:
        found = {}
        for kind in SUMS:
            family = sums(default_cache(), kind)
            items = distinct_items(family, ITEMS if kind == "reasoning" else LONG_ITEMS, held_out=True)
            rows = score_reasoning(model, tokenizer, family, items, dtype=dtype_of(precision))
            found[kind] = [row["correct"] for row in rows]
        return found

    before = right()
    source, objective = method.source(setting), method.objective(setting)
    attach(model, LoraConfig(rank=16, alpha=32.0), seed=seed)
    began = time.perf_counter()
    config = dataclasses.replace(method.config(steps=steps, lr=lr, precision=precision), checkpoint_seconds=120.0)
    train(model, source, config, objective=objective, scratch=folder, title=f"seed {seed}")
    seconds = time.perf_counter() - began
    detach(model, merge=True)
    rewards = read_rewards(folder / setting.journal)
    return {"seed": seed, "seconds": round(seconds, 1), "before": before, "after": right(), "rewards": rewards}


def figures(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Points gained by seed, and their median and least."""
    rows = []
    for each in rounds:
        row: dict[str, Any] = {"seed": each["seed"], "seconds": each["seconds"]}
        for kind in each["before"]:
            sides = [100 * statistics.mean(each[side][kind]) for side in ("before", "after")]
            row[kind] = {"before": sides[0], "after": sides[1], "points": sides[1] - sides[0]}
        last = each["rewards"][-8:]
        row["drawn"] = {name: statistics.mean(line[name] for line in last) for name in ("correct", "entropy", "tokens")}
        rows.append(row)
    gains = [row["reasoning"]["points"] for row in rows]
    return {"seeds": rows, "median_points": statistics.median(gains), "least_points": min(gains)}


def table(shown: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| seed | sums of one digit right, before | after | points | of two and three digits, before | after |",
        "|---|---|---|---|---|---|",
    ]
    for row in shown["seeds"]:
        short, long = row["reasoning"], row["long_sums"]
        lines.append(
            f"| {row['seed']} | {short['before']:.1f} % | {short['after']:.1f} % | {short['points']:+.1f} "
            f"| {long['before']:.1f} % | {long['after']:.1f} % |"
        )
    lines.append(f"| median, least | | | {shown['median_points']:+.1f}, {shown['least_points']:+.1f} | | |")
    return "\n".join(lines)


def main() -> None:
    from ayllu.recipes.smol import RATES
    from ayllu.recipes.stages.methods import GRPO, adapter_config
    from ayllu.train.machine import fastest_precision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--lr", type=float, default=RATES[0])
    parser.add_argument("--batch", type=int, default=GRPO().batch)
    parser.add_argument("--group", type=int, default=GRPO().group)
    parser.add_argument("--matrices", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()

    class Chosen(GRPO):
        def config(self, *, steps: int, lr: float, precision: str) -> Any:
            return adapter_config(self, steps=steps, lr=lr, precision=precision, matrices=given.matrices)

    precision = fastest_precision()
    asked = [given.steps, given.lr, given.batch, given.group, given.matrices, precision]
    name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]
    rounds = []
    for seed in given.seeds:
        folder = ROOT / "build" / "bench-grpo" / f"{name}-{seed}"
        done = folder / "round.json"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            method = Chosen(batch=given.batch, group=given.group)
            made = learn(seed, given.steps, given.lr, method, precision, folder)
            with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
                json.dump(made, file)
            Path(file.name).replace(done)
        rounds.append(json.loads(done.read_text()))
        print(json.dumps(figures(rounds)["seeds"][-1]), flush=True)
    shown = figures(rounds)
    print(table(shown))
    if given.keep:
        keep("grpo", {**shown, "asked": asked}, rounds=rounds)


if __name__ == "__main__":
    sys.exit(main())
