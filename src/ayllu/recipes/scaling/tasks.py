"""Scores of tasks on a ladder: measured on each rung, laid against its loss, and foretold for the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.store import write_atomically
from ayllu.recipes.stages.artifacts import Weights

if TYPE_CHECKING:
    from ayllu.evals.score import Scores
    from ayllu.text.tokenizer import Tokenizer

TASKS = "tasks.json"
METRIC = "gold_bits_per_byte"


def open_tasks(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / TASKS).read_text())
    return found


@stage(identity="task_law", makes=open_tasks)
def task_law(
    ctx: Context,
    before: Handle[dict[str, Any]] | None,
    rung: Handle[Weights],
    tokenizer: Handle[Tokenizer],
    law: Handle[dict[str, Any]] | None,
    *,
    index: int,
    items: int,
    seed: int,
) -> None:
    """The tasks of the suite `small` on a rung, beside the rungs below, and from the third on what the next will score.

    `law` foretells the next rung's loss; None for the largest, after which nothing comes.
    """
    foretold = before.value["next"] if before is not None else None
    for name, expected in (foretold or {}).items():
        ctx.predict(f"{METRIC} {name}", expected["value"], low=expected["low"], high=expected["high"])
    row = scored(index + 1, rung.artifact.record, _measured(ctx, rung, tokenizer, items))
    for name, task in row["tasks"].items():
        ctx.note(f"{METRIC} {name}", task["value"])
    points = [*(before.value["points"] if before is not None else []), row]
    expected_loss = law.value["next"]["losses"][-1] if law is not None and law.value["next"] else None
    fits, ahead = foretell(points, expected_loss, seed=seed)
    kept = {"items": items, "points": points, "fit": fits, "next": ahead, "foretold": foretold}
    write_atomically(ctx.folder / TASKS, json.dumps(kept, indent=1) + "\n")


def scored(number: int, record: Mapping[str, Any], scores: Scores) -> dict[str, Any]:
    """A rung's point: its loss after the last decay, and of each set the metric with its interval and the accuracy."""
    sets = scores.as_json()["sets"]
    return {
        "rung": number,
        "parameters": record["matrix_parameters"],
        "loss": record["points"][-1]["loss"],
        "tasks": {name: {**entry[METRIC], "accuracy": entry["accuracy"]} for name, entry in sets.items()},
    }


def _measured(ctx: Context, rung: Handle[Weights], tokenizer: Handle[Tokenizer], items: int) -> Scores:
    from ayllu.evals.likelihood.multiple_choice import evaluate_suite
    from ayllu.evals.suite import load_suite
    from ayllu.model.files import hf

    suite = load_suite("small", items_per_set=items, cache=ctx.cache)
    model = hf.load(rung.value).eval()
    scores = evaluate_suite(model, tokenizer.value, suite, folder=ctx.scratch / "items")
    scores.save(ctx.folder)
    return scores


def foretell(
    points: list[dict[str, Any]], loss: dict[str, Any] | None, *, seed: int
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The line of each task, and what it says at an expected loss (`loss`, `low`, `high`); None where it cannot be."""
    from ayllu.evals.scaling.line import FEWEST, fit_line

    if len(points) < FEWEST:
        return None, None
    losses = [point["loss"] for point in points]
    lines = {
        name: fit_line(losses, [point["tasks"][name]["value"] for point in points], seed=seed)
        for name in points[-1]["tasks"]
    }
    fits = {name: line.as_json() for name, line in lines.items()}
    if loss is None:
        return fits, None
    ahead = {}
    for name, line in lines.items():
        low, high = line.interval(loss["loss"], loss["low"], loss["high"], seed=seed)
        ahead[name] = {"value": line.score(loss["loss"]), "low": low, "high": high}
    return fits, ahead


def compared(tasks: dict[str, Any]) -> dict[str, Any]:
    """For the report: each task on all rungs, what was foretold of the largest, and what came."""
    last = tasks["points"][-1]["tasks"]
    return {
        name: {
            "metric": METRIC,
            "points": [
                {"rung": point["rung"], "loss": point["loss"], **point["tasks"][name]} for point in tasks["points"]
            ],
            "predicted": foretold,
            "measured": last[name]["value"],
            "error_pct": round(100 * (last[name]["value"] / foretold["value"] - 1), 3),
            "inside": foretold["low"] <= last[name]["value"] <= foretold["high"],
        }
        for name, foretold in (tasks["foretold"] or {}).items()
    }
