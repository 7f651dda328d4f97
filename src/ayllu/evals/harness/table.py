"""Agreement as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ayllu.evals.table import aligned

HEAD = ("task", "items", "same", "prompts", "choices", "values", "largest difference", "items/s", "lm-eval's")
NOTE = "Prompts, choices and values: how many differ. The largest difference is of two log-likelihoods, in nats."


def agreement_table(found: Mapping[str, Any]) -> str:
    """A table for the terminal, from what `agree` gives."""
    rows = [
        (
            task["task"],
            f"{task['items']:,}",
            "yes" if task["agrees"] else "NO",
            str(task["prompts_that_differ"]),
            str(task["choices_that_differ"]),
            str(task["values_that_differ"]),
            "" if task["largest_log_likelihood_difference"] is None else _small(task),
            f"{task['items_per_second']:.2f}",
            f"{task['items_per_second_lm_eval']:.2f}",
        )
        for task in found["tasks"]
    ]
    rounded = [_rounded(task) for task in found["tasks"] if task["items_rounded"]]
    return "\n".join([aligned(HEAD, rows), "", f"{found['with']}, in {found['dtype']}. {NOTE}", *rounded, ""])


def _rounded(task: Mapping[str, Any]) -> str:
    return (
        f"{task['task']}: {task['items_rounded']:,} items were up to {task['largest_difference_as_rounded']:.1e} apart "
        "until lm-eval added up the probabilities of all ids in float64 (its option softmax_dtype)."
    )


def _small(task: Mapping[str, Any]) -> str:
    return f"{task['largest_log_likelihood_difference']:.1e}"
