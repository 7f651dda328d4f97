"""The class of the Model Openness Framework 1.0 that a release reaches by what is in it: computed, not claimed.

Components and classes: White et al. 2024 (arXiv:2403.13784) and lfai/model_openness_tool, schema/mof_schema.json.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ayllu.release.gates import REPORT, SOURCES
from ayllu.release.licences import read_licence

CLASSES = {
    "III": (
        "model architecture",
        "model parameters (final)",
        "model card",
        "data card",
        "technical report",
        "evaluation results",
    ),
    "II": ("training code", "inference code", "evaluation code", "supporting libraries and tools", "evaluation data"),
    "I": ("data preprocessing code", "model parameters (intermediate)", "datasets", "research paper"),
}
"""What each class asks for beyond the one before."""
FRAMEWORK = "Model Openness Framework 1.0"
PAPER = "https://arxiv.org/abs/2403.13784"
OPENNESS = "openness"
"""Of records.json: what the card says of it; missing in releases of before it did."""
CODE = "Ayllu (Apache-2.0), whose version and settings the release names"


def openness(manifest: Mapping[str, Any], records: Mapping[str, Any]) -> dict[str, Any]:
    """The class, or null, each component with where it is, and what the next class lacks."""
    files = manifest["files"]
    sources = [s for kind in ("corpus", "dialogues") for s in records[SOURCES].get(kind) or []]
    pinned = bool(sources) and all(source.get("archives") for source in sources)
    open_data = pinned and all(not read_licence(str(source.get("licence"))).objection for source in sources)
    weights = sorted(path for path in files if path.endswith(".safetensors"))
    where = {
        "model architecture": "config.json" if "config.json" in files else None,
        "model parameters (final)": ", ".join(weights) or None,
        "model card": "README.md" if "README.md" in files else None,
        "data card": "sources.json, LICENSES.md" if "sources.json" in files and "LICENSES.md" in files else None,
        "technical report": REPORT if REPORT in files else None,
        "evaluation results": "scores.json, items.jsonl, documents.jsonl" if "items.jsonl" in files else None,
        "training code": CODE,
        "inference code": CODE,
        "evaluation code": CODE,
        "supporting libraries and tools": CODE,
        "evaluation data": None,
        "data preprocessing code": CODE,
        "model parameters (intermediate)": None,
        "datasets": "the archives that sources.json pins by sha256" if open_data else None,
        "research paper": None,
    }
    reached, missing = None, {}
    still = True
    for name, wanted in CLASSES.items():
        lacking = [part for part in wanted if where[part] is None]
        missing[name] = lacking
        still = still and not lacking
        reached = name if still else reached
    return {
        "framework": FRAMEWORK,
        "class": reached,
        "components": [{"name": name, "where": place} for name, place in where.items()],
        "missing": missing,
    }


def said_openness(held: Collection[str], sources: Mapping[str, Any]) -> dict[str, Any]:
    """What records.json keeps for the card: the class, the one above it, and what that one lacks.

    `held` are the paths of a release, the pages that are yet to be written too.
    """
    found = openness({"files": held}, {SOURCES: sources})
    above = next((name for name in CLASSES if found["missing"][name]), None)
    lacking = found["missing"][above] if above else []
    return {"framework": found["framework"], "class": found["class"], "next": above, "lacking": lacking}


def openness_line(said: Mapping[str, Any], framework: str) -> str:
    """The card's sentence; `framework` is its name, with the reference that a number in it needs on a page."""
    reached = f"class {said['class']}" if said["class"] else "no class"
    lacking = ", ".join(said["lacking"])
    further = f"; class {said['next']} also asks for what it does not hold: {lacking}" if lacking else ""
    return (
        f"By the {framework} ([White et al.]({PAPER})) the release reaches {reached}{further}. That is computed "
        "from what it holds, and [openness.json](documents/openness.json) names each component."
    )
