"""What sums worked out, and GRPO after them, teach SmolLM2: held-out sums before and after each, and in the state that
is kept by questions of the training side, as the recipe keeps it; and every reward.

    python bench/grpo.py --seeds 101 102 103 [--keep] [--worked 12 --steps 10 --group 8 --batch 8 --lr 1e-4]

Some minutes a seed on two cores with bf16. A seed that is done is not run again: rounds are kept in
`build/bench-grpo/`, so a run that was killed, or one with more seeds, goes on where it was. Only these two stages
run, not the whole recipe; the sums that are measured on are those of `ayllu run smol`.
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
SIDES = ("before", "worked", "grpo", "kept")
PLANNED = ("share", "least_steps")
PLAIN = 900
"""Rows of the text that the model must not diverge on."""


class Plain:
    """The text that the model must not diverge on."""

    def __init__(self, tokenizer: Any, cache: Path) -> None:
        self._tokenizer, self._cache = tokenizer, cache

    def plain(self) -> list[list[int]]:
        from ayllu.recipes.stages.dataset import plain_rows

        return list(itertools.islice(plain_rows(self._tokenizer, self._cache), PLAIN))


def learn(seed: int, plan: Mapping[str, tuple[Any, int, float]], precision: str, folder: Path) -> dict[str, Any]:
    """One run of some methods, each with its steps and rate: what was right before, after each, and the rewards."""
    from ayllu.data.archive import default_cache
    from ayllu.model.files import hf
    from ayllu.recipes.adopt import adopt
    from ayllu.recipes.stages.better import answered, choice, choosing_questions
    from ayllu.recipes.stages.methods import TURNS, Setting
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.machine import dtype_of
    from ayllu.train.objectives.grpo import read_rewards

    adopted = adopt("smollm2").folder
    model, tokenizer = hf.load(adopted), Tokenizer.load(adopted)
    # The same for every seed: greedy answers of one model to the same questions.
    measured = folder.parent / f"before-{precision}.json"
    if not measured.exists():
        _write(measured, right(model, tokenizer, precision))
    found: dict[str, Any] = {"seed": seed, "seconds": {}, "before": json.loads(measured.read_text())}
    learnt = {name: steps * method.questions for name, (method, steps, _) in plan.items()}
    asked = choosing_questions(adopted, default_cache(), seed=seed, tasks=TURNS, learnt=learnt)
    verdicts = []
    for name, (method, steps, lr) in plan.items():
        setting = Setting(
            model=model,
            tokenizer=tokenizer,
            dataset=Plain(tokenizer, default_cache()),
            adopted=adopted,
            precision=precision,
            seed=seed,
            steps=steps,
            cache=default_cache(),
            scratch=folder / name,
        )
        found["seconds"][name] = taught(method, setting, lr)
        found[name] = right(model, tokenizer, precision)
        rows = answered(model, tokenizer, asked, dtype=dtype_of(precision))
        verdicts.append([bool(row["correct"]) for row in rows])
        found["rewards"] = read_rewards(setting.scratch / setting.journal)
    found["choice"] = choice(*verdicts)
    found["kept"] = found["grpo" if found["choice"]["kept"] == "after" else "worked"]
    return found


def taught(method: Any, setting: Any, lr: float) -> float:
    """Train the model of `setting` in place; returns the seconds that it took."""
    from ayllu.train.loop import train
    from ayllu.train.lora import LoraConfig, attach, detach

    source, objective = method.source(setting), method.objective(setting)
    attach(setting.model, LoraConfig(rank=16, alpha=32.0), seed=setting.seed)
    config = method.config(steps=setting.steps, lr=lr, precision=setting.precision)
    config = dataclasses.replace(config, checkpoint_seconds=120.0)
    setting.scratch.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    train(setting.model, source, config, objective=objective, scratch=setting.scratch, title=f"seed {setting.seed}")
    seconds = time.perf_counter() - began
    detach(setting.model, merge=True)
    return round(seconds, 1)


def right(model: Any, tokenizer: Any, precision: str) -> dict[str, list[bool]]:
    """Which held-out sums a model gets right, by kind."""
    from ayllu.data.archive import default_cache
    from ayllu.data.conversations.reasoning import distinct_items
    from ayllu.evals.skills.reasoning import score_reasoning
    from ayllu.recipes.stages.methods import SUMS, sums
    from ayllu.train.machine import dtype_of

    found = {}
    for kind in SUMS:
        family = sums(default_cache(), kind)
        items = distinct_items(family, ITEMS if kind == "reasoning" else LONG_ITEMS, held_out=True)
        rows = score_reasoning(model, tokenizer, family, items, dtype=dtype_of(precision))
        found[kind] = [row["correct"] for row in rows]
    return found


def figures(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Points gained by seed, and their median and least."""
    rows = []
    for each in rounds:
        row: dict[str, Any] = {"seed": each["seed"], "seconds": each["seconds"]}
        for kind in each["before"]:
            shares = {side: 100 * statistics.mean(each[side][kind]) for side in SIDES if side in each}
            row[kind] = shares | {"points": shares["grpo"] - shares["before"]}
        row |= {"choice": each["choice"]} if "choice" in each else {}
        last = each["rewards"][-8:]
        row["drawn"] = {name: statistics.mean(line[name] for line in last) for name in ("correct", "entropy", "tokens")}
        rows.append(row)
    gains = [row["reasoning"]["points"] for row in rows]
    of_grpo = [row["reasoning"]["grpo"] - row["reasoning"]["worked"] for row in rows]
    of_kept = [row["reasoning"]["kept"] - row["reasoning"]["worked"] for row in rows if "kept" in row["reasoning"]]
    kept = (
        {"median_points_of_kept": statistics.median(of_kept), "least_points_of_kept": min(of_kept)} if of_kept else {}
    )
    return {
        "seeds": rows,
        "median_points": statistics.median(gains),
        "least_points": min(gains),
        "median_points_of_grpo": statistics.median(of_grpo),
        "least_points_of_grpo": min(of_grpo),
        **kept,
    }


def table(shown: Mapping[str, Any]) -> str:
    """Markdown."""
    kept = all("kept" in row["reasoning"] for row in shown["seeds"])
    sides = "adopted, after worked sums, after GRPO" + (", kept" if kept else "")
    lines = [
        f"| seed | sums of one digit right: {sides} | points, of these GRPO's{', and of what is kept' if kept else ''} "
        f"| of two and three digits: {sides} |",
        "|---|---|---|---|",
    ]
    for row in shown["seeds"]:
        short, long = (
            ", ".join(f"{row[kind][side]:.1f}" for side in SIDES if side in row[kind])
            for kind in ("reasoning", "long_sums")
        )
        sums = row["reasoning"]
        parts = [f"{sums[side] - sums['worked']:+.1f}" for side in ("grpo", "kept") if side in sums]
        lines.append(f"| {row['seed']} | {short} % | {sums['points']:+.1f}, {', '.join(parts)} | {long} % |")
    for name in ("median", "least"):
        parts = [f"{shown[f'{name}_points{of}']:+.1f}" for of in ("", "_of_grpo", *(["_of_kept"] if kept else []))]
        lines.append(f"| {name} | | {', '.join(parts)} | |")
    return "\n".join(lines)


def _write(path: Path, value: Any) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(value, file)
    Path(file.name).replace(path)


def main() -> None:
    from ayllu.recipes.smol import RATES, WORKED_RATE
    from ayllu.recipes.stages.methods import GRPO, Worked
    from ayllu.train.machine import fastest_precision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--worked", type=int, default=12, help="steps on sums worked out, before GRPO")
    parser.add_argument("--steps", type=int, default=10, help="steps of GRPO")
    parser.add_argument("--lr", type=float, default=RATES[0])
    parser.add_argument("--batch", type=int, default=GRPO().batch)
    parser.add_argument("--group", type=int, default=GRPO().group)
    parser.add_argument("--entropy", type=float, default=GRPO().entropy)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()

    precision = fastest_precision()
    method = GRPO(batch=given.batch, group=given.group, entropy=given.entropy)
    plan = {"worked": (Worked(), given.worked, WORKED_RATE), "grpo": (method, given.steps, given.lr)}
    asked: dict[str, Any] = {"precision": precision}
    for name, (used, steps, lr) in plan.items():
        # How a plan shares out minutes is nothing to a run whose steps are given.
        told = {field: value for field, value in dataclasses.asdict(used).items() if field not in PLANNED}
        asked[name] = {**told, "steps": steps, "lr": lr}
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]
    rounds = []
    for seed in given.seeds:
        folder = ROOT / "build" / "bench-grpo" / f"{digest}-{seed}"
        done = folder / "round.json"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write(done, learn(seed, plan, precision, folder))
        rounds.append(json.loads(done.read_text()))
        print(json.dumps(figures(rounds)["seeds"][-1]), flush=True)
    shown = figures(rounds)
    print(table(shown))
    if given.keep:
        keep("training/grpo", {**shown, "asked": asked}, rounds=rounds)


if __name__ == "__main__":
    sys.exit(main())
