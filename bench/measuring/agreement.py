"""Whether our scores are lm-evaluation-harness 0.4.13's: prompts, log-likelihoods, choices and metrics, item by item.

    python bench/measuring/agreement.py MODEL [--tasks piqa,mmlu,gsm8k=4] [--items 12] [--data FOLDER]
                                        [--home HOME] [--keep]

In float32, both programs on the same items of the same weights, lm-eval in an environment of its own. `NAME=N` asks a
set for N items instead of --items. Ends with 1 where anything differs that docs/measuring/standard_sets.md does not
name.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep

from ayllu.api.measuring import agree
from ayllu.api.models import load

TASKS = (
    "hellaswag,piqa,arc_easy,arc_challenge,openbookqa,winogrande,boolq,social_iqa,commonsense_qa,mmlu,mmlu_continuation,"
    "blimp,lambada_openai,state_of_the_union=1,gsm8k=4,minerva_math500=4"
)
"""Ranked choices, the last word of a passage, a whole text, and generated answers."""


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    given.add_argument("model")
    given.add_argument("--tasks", default=TASKS)
    given.add_argument("--items", type=int, default=12)
    given.add_argument("--data", type=Path, nargs="*", default=[])
    given.add_argument("--home", type=Path)
    given.add_argument("--keep", action="store_true")
    asked = given.parse_args()
    found = measured(asked)
    print(json.dumps(found, indent=1))
    if asked.keep:
        keep("agreement", found, rounds=found["tasks"], peers={"lm-eval": "0.4.13"})
    sys.exit(0 if all(task["agrees"] for task in found["tasks"]) else 1)


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """The table of `ayllu eval agree`, of sets with different numbers of items."""
    numbers: dict[int, list[str]] = {}
    for part in asked.tasks.split(","):
        name, _, number = part.partition("=")
        numbers.setdefault(int(number or asked.items), []).append(name)
    model = load(asked.model, home=asked.home)
    tables = [agree(model, tasks=",".join(names), items=items, data=asked.data) for items, names in numbers.items()]
    tasks = {task["task"]: task for table in tables for task in table["tasks"]}
    order = [part.partition("=")[0] for part in asked.tasks.split(",")]
    return {**tables[0], "model": asked.model, "tasks": [tasks[name] for name in order]}


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        f"{figures['model']} in {figures['dtype']}, beside {figures['with']}; how many items differ in …",
        "",
        "| set | mode | items | prompt | choice or text | metric | largest difference of log-likelihoods | agrees |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in figures["tasks"]:
        largest = task["largest_log_likelihood_difference"]
        lines.append(
            f"| {task['task']} | {task['mode']} | {task['items']} | {task['prompts_that_differ']} | "
            f"{task['choices_that_differ']} | {task['values_that_differ']} | "
            f"{'' if largest is None else f'{largest:.1e}'} | {'yes' if task['agrees'] else 'no'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
