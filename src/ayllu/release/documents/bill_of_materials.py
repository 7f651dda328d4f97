"""A machine-learning bill of materials: CycloneDX 1.7, written as JSON by hand.

cyclonedx-python-lib has no class for a model card and drops one without a word when it reads it, so it writes nothing
here; the tests hold what is written to the schema that it ships.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

from ayllu.release.gates import RECORDS, SCORES, SOURCES

SPEC = "1.7"
LIMITS = (
    "It makes statements that are false, and repeats what its sources say, their prejudices too.",
    "The scores are all that was measured: nothing says that it is fit for a task.",
)


def bill_of_materials(manifest: Mapping[str, Any], records: Mapping[str, Any]) -> dict[str, Any]:
    """The bill of a release; `records` has the values of records.json, scores.json and sources.json by their names.

    The same release gives the same bytes: the serial number follows from its manifest.
    """
    name, version = manifest["name"], manifest["version"]
    sources = [*_sources(records[SOURCES])]
    serial = uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {version} {manifest['model_digest']}")
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": records[RECORDS]["release"]["date"],
            "tools": {"components": [{"type": "application", "name": "ayllu", "version": manifest["ayllu"]}]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": "model",
                "name": name,
                "version": version,
                "licenses": [_licence(manifest["licence"])],
                "hashes": [{"alg": "SHA-256", "content": weights_digest(manifest)}],
                "modelCard": _model_card(records, [source["bom-ref"] for source in sources]),
            },
        },
        "components": sources,
        "dependencies": [{"ref": "model", "dependsOn": [source["bom-ref"] for source in sources]}],
    }


def weights_digest(manifest: Mapping[str, Any]) -> str:
    """The sha256 of the weights where they are one file, else of the list of their files."""
    files = {path: entry["sha256"] for path, entry in manifest["files"].items() if path.endswith(".safetensors")}
    if len(files) == 1:
        return str(next(iter(files.values())))
    listed = "".join(f"{digest}  {path}\n" for path, digest in sorted(files.items()))
    return hashlib.sha256(listed.encode()).hexdigest()


def _model_card(records: Mapping[str, Any], datasets: list[str]) -> dict[str, Any]:
    return {
        "modelParameters": {
            "approach": {"type": "self-supervised"},
            "task": "text-generation",
            "architectureFamily": "transformer",
            "modelArchitecture": "LlamaForCausalLM",
            "datasets": [{"ref": ref} for ref in datasets],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(records[SCORES]))},
        "considerations": {"technicalLimitations": list(LIMITS)},
        "properties": [
            {"name": f"ayllu:model:{field}", "value": str(value)} for field, value in records[RECORDS]["model"].items()
        ],
    }


def _metrics(scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every score with its interval: benchmarks, held-out text, hazards."""
    for name, entry in (scores.get("sets") or {}).items():
        yield _metric(entry["headline"], name, entry[entry["headline"]])
    for name, entry in (scores.get("bits_per_byte") or {}).items():
        yield _metric("bits per byte", name, entry)
    for name, entry in (scores["about"].get("hazards") or {}).items():
        if entry["value"] is not None:
            yield _metric("hazard", name, entry)


def _metric(kind: str, part: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": kind,
        "slice": part,
        "value": repr(entry["value"]),
        "confidenceInterval": {"lowerBound": repr(entry["low"]), "upperBound": repr(entry["high"])},
    }


def _sources(origins: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("corpus", "dialogues"):
        for number, source in enumerate(origins.get(kind) or []):
            yield {
                "type": "data",
                "bom-ref": f"{kind}-{number}",
                "name": source["name"],
                "description": source.get("title") or source.get("description") or source["name"],
                "licenses": [_licence(source["licence"])],
                "data": [{"type": "dataset", "name": source["name"]}],
                "properties": [
                    {
                        "name": f"ayllu:archive:{a['registry']}:{a['name']}",
                        "value": f"{a['version']} sha256:{a['sha256']}",
                    }
                    for a in source.get("archives") or []
                ],
            }


def _licence(words: str) -> dict[str, Any]:
    """An SPDX identifier as such; anything else as the words that the source says."""
    try:
        known = get_spdx_licensing().parse(words, validate=True)
    except ExpressionError:
        known = None
    single = known is not None and len(list(known.symbols)) == 1 and known.render() == words
    return {"license": {"id": words} if single else {"name": words}}
