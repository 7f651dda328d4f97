"""How long it takes to verify a release of a model of 135 million parameters, without re-execution and with it.

    python bench/measuring/verify.py HOME [--base smollm2] [--steps 4] [--items 20] [--runs 3] [--keep]

SmolLM2 is taught for a few steps in the folder HOME, measured on a few questions of each benchmark and released with
its proof, by the stages of the recipe smol; then the real command verifies it. Prints one JSON object, and keeps a
record of it: seconds by the clock, which other programs lengthen, and of the processor, all threads together.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from keep import keep

from ayllu.data.archive import default_cache
from ayllu.lab.graph import Context, Handle
from ayllu.lab.run import Place, processor, resolve
from ayllu.lab.store import Store
from ayllu.recipes.adopt import adopted
from ayllu.recipes.smol import GENERATED, KEPT
from ayllu.recipes.stages.artifacts import Release, ScoreFolder, Weights
from ayllu.recipes.stages.dataset import build_dataset
from ayllu.recipes.stages.evaluate import benchmarks
from ayllu.recipes.stages.posttrain import plan_posttraining, posttrain
from ayllu.recipes.stages.proof import training
from ayllu.recipes.stages.release import Contents, release_stage
from ayllu.recipes.stages.weights import interpolate_weights
from ayllu.release.proof.make import Evidence


@release_stage(identity="bench.verify")
def release(
    ctx: Context,
    base: Handle[Weights],
    taught: Handle[Weights],
    final: Handle[Weights],
    scores: Handle[ScoreFolder],
    *,
    policy: str,
) -> Contents:
    """The release, with a proof of the steps that it was taught by."""
    return Contents(
        name="verified",
        version="1.0.0",
        policy=policy,
        weights=final.value,
        scores=scores.value,
        sources=[{"name": "adopted", "title": "SmolLM2-135M-Instruct", "licence": "Apache-2.0"}],
        dialogues=GENERATED,
        records={},
        evidence=Evidence(trainings=[training("sft", taught, begins=base, reference=base, kept=KEPT)]),
    )


def graph(base: str, *, steps: int, items: int) -> Handle[Release]:
    """As smol wires it, with one method."""
    start = adopted(base)
    data = build_dataset(start, seed=0, groups=60, chats=None, preferences=None)
    plan = plan_posttraining(start, data, budget=1.0, seed=0, steps=(steps,), items=items, methods=("sft",))
    taught = posttrain(start, data, plan, method="sft", seed=0, lr=3e-3, rank=16, adopted=start)
    final = interpolate_weights(start, taught, kept=KEPT)
    return release(start, taught, final, benchmarks(final, plan, items=items), policy="open")


def timed(folder: Path, *words: str) -> dict[str, Any]:
    """One run of `ayllu release verify`, and what it says."""
    command = [sys.executable, "-m", "ayllu.cli", "release", "verify", str(folder), "--json", *words]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "code": done.returncode,
        "seconds": round(seconds, 2),
        "processor_seconds": round(used, 2),
        "told": json.loads(done.stdout).get("re_execution"),
    }


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    rows = [
        f"| {words} | {figures[key]['seconds']:.1f} | {figures[key]['processor_seconds']:.1f} |"
        for key, words in (("files", "without re-execution"), ("re-executed", "with re-execution"))
    ]
    parts = [f"| {part['part']} | {part['seconds']:.1f} | {part['told']} |" for part in figures["parts"]]
    sizes = figures["megabytes"]
    return "\n".join(
        [
            f"A release of {sizes['release']:,} MB, a proof of {sizes['proof']:,} MB; a load of {figures['load']:.0f}.",
            "",
            "| verifying | seconds by the clock | of processor time |",
            "|---|---|---|",
            *rows,
            "",
            "| part executed again | seconds | compared |",
            "|---|---|---|",
            *parts,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, help="where it is made, and found again")
    parser.add_argument("--base", default="smollm2", help="as `ayllu adopt` takes it")
    parser.add_argument("--steps", type=int, default=4, help="of SFT")
    parser.add_argument("--items", type=int, default=20, help="questions of each benchmark")
    parser.add_argument("--runs", type=int, default=3, help="verifications of each kind")
    parser.add_argument("--keep", action="store_true", help="write bench/records/verify.json")
    given = parser.parse_args()
    os.environ["AYLLU_HOME"] = str(given.home)
    handle = graph(given.base, steps=given.steps, items=given.items)
    made = resolve(handle, Place(store=Store(given.home), cache=default_cache()))[handle].folder
    sizes = {part: sum(p.stat().st_size for p in (made / part).rglob("*") if p.is_file()) for part in
             ("release", "proof")}  # fmt: skip
    runs = {"files": [timed(made / "release") for _ in range(given.runs)],
            "re-executed": [timed(made / "release", "--re-execute") for _ in range(given.runs)]}  # fmt: skip
    found = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "megabytes": {name: round(size / 1e6) for name, size in sizes.items()},
        **{
            name: {what: statistics.median(run[what] for run in each) for what in ("seconds", "processor_seconds")}
            | {"codes": sorted({run["code"] for run in each})}
            for name, each in runs.items()
        },
        "parts": runs["re-executed"][-1]["told"]["parts"],
    }
    if given.keep:
        keep("verify", found, rounds=runs)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
