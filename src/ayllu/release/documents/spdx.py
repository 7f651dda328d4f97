"""The release as an AI package of SPDX 3.0.1, written as JSON-LD by hand.

spdx-python-model 0.0.6 writes 5e-05 where XML Schema wants a decimal, and lets a package pass without the fields that
the specification requires; the tests read what is written here with it, and look for those fields themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from ayllu.release.documents.bill_of_materials import LIMITS, weights_digest
from ayllu.release.gates import RECORDS, SCORES, SOURCES

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
INFO = "_:creation"


def spdx_document(manifest: Mapping[str, Any], records: Mapping[str, Any]) -> dict[str, Any]:
    """The document: the model, its sources as data sets, their licences, and how they hang together."""
    base = f"https://spdx.org/spdxdocs/{manifest['name']}-{manifest['version']}-{manifest['model_digest'][:16]}"
    date = records[RECORDS]["release"]["date"]
    sources = list(_sources(base, records[SOURCES], date))
    licences = sorted({manifest["licence"], *(words for _, words in sources)})
    numbered = {words: f"{base}#licence-{number}" for number, words in enumerate(licences)}
    elements = [
        _model(base, manifest, records, date),
        *(source for source, _ in sources),
        *(_licence(numbered[words], words) for words in licences),
        *_relationships(base, manifest["licence"], sources, numbered),
    ]
    return {
        "@context": CONTEXT,
        "@graph": [
            {
                "type": "CreationInfo",
                "@id": INFO,
                "specVersion": "3.0.1",
                "created": date,
                "createdBy": [f"{base}#publisher"],
                "createdUsing": [f"{base}#ayllu"],
            },
            _element("Organization", f"{base}#publisher", name=f"publishers of {manifest['name']}"),
            _element("Tool", f"{base}#ayllu", name=f"ayllu {manifest['ayllu']}"),
            _element(
                "SpdxDocument",
                f"{base}#document",
                profileConformance=["core", "software", "ai", "dataset", "simpleLicensing"],
                rootElement=[f"{base}#model"],
                element=[element["spdxId"] for element in elements],
            ),
            *elements,
        ],
    }


def _element(kind: str, identifier: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "spdxId": identifier, "creationInfo": INFO, **fields}


def _model(base: str, manifest: Mapping[str, Any], records: Mapping[str, Any], date: str) -> dict[str, Any]:
    metrics = [
        {"type": "DictionaryEntry", "key": name, "value": repr(value)} for name, value in _metrics(records[SCORES])
    ]
    settings = [
        {"type": "DictionaryEntry", "key": f"model {name}", "value": decimal(value)}
        for name, value in records[RECORDS]["model"].items()
        if value is not None
    ]
    return _element(
        "ai_AIPackage",
        f"{base}#model",
        name=manifest["name"],
        suppliedBy=f"{base}#publisher",
        releaseTime=date,
        software_packageVersion=manifest["version"],
        software_primaryPurpose="model",
        software_downloadLocation=f"https://huggingface.co/{manifest['name']}",
        verifiedUsing=[{"type": "Hash", "algorithm": "sha256", "hashValue": weights_digest(manifest)}],
        ai_typeOfModel=["transformer", "language model"],
        ai_domain=["text generation"],
        ai_autonomyType="no",
        ai_informationAboutTraining="records.json of the release says how it was trained, with every setting.",
        ai_limitation=" ".join(LIMITS),
        ai_hyperparameter=settings,
        **({"ai_metric": metrics} if metrics else {}),
    )


def _metrics(scores: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, entry in (scores.get("sets") or {}).items():
        yield f"{name} {entry['headline']}", entry[entry["headline"]]["value"]
    for name, entry in (scores.get("bits_per_byte") or {}).items():
        yield f"bits per byte of {name}", entry["value"]


def decimal(value: Any) -> str:
    """A value as text; a number without an exponent, as XML Schema's decimal has it."""
    if isinstance(value, float) and "e" in repr(value):
        return format(Decimal(repr(value)), "f")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sources(base: str, origins: Mapping[str, Any], date: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Each source as a package of data, and the words of its licence."""
    for kind in ("corpus", "dialogues"):
        for number, source in enumerate(origins.get(kind) or []):
            archives = source.get("archives") or []
            told = "; ".join(f"{a['registry']} {a['name']} {a['version']} sha256:{a['sha256']}" for a in archives)
            size = {"dataset_datasetSize": source["bytes"]} if isinstance(source.get("bytes"), int) else {}
            yield (
                _element(
                    "dataset_DatasetPackage",
                    f"{base}#{kind}-{number}",
                    name=source["name"],
                    originatedBy=[f"{base}#publisher"],
                    releaseTime=date,
                    builtTime=date,
                    software_primaryPurpose="data",
                    software_downloadLocation=f"https://pypi.org/project/{archives[0]['name']}"
                    if archives and archives[0]["registry"] == "pypi"
                    else "https://spdx.org/rdf/3.0.1/terms/Core/NoAssertionElement",
                    dataset_datasetType=["text"],
                    dataset_dataCollectionProcess=told or "sources.json of the release says where it came from.",
                    **size,
                ),
                str(source["licence"]),
            )


def _licence(identifier: str, words: str) -> dict[str, Any]:
    return _element("simplelicensing_SimpleLicensingText", identifier, simplelicensing_licenseText=words)


def _relationships(
    base: str, licence: str, sources: list[tuple[dict[str, Any], str]], numbered: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    pairs = [(f"{base}#model", licence), *((source["spdxId"], words) for source, words in sources)]
    for number, (of, words) in enumerate(pairs):
        for kind in ("hasConcludedLicense", "hasDeclaredLicense"):
            yield _relationship(f"{base}#{kind}-{number}", kind, of, [numbered[words]])
    if sources:
        trained = [source["spdxId"] for source, _ in sources]
        yield _relationship(f"{base}#trained-on", "trainedOn", f"{base}#model", trained)


def _relationship(identifier: str, kind: str, of: str, to: list[str]) -> dict[str, Any]:
    return _element("Relationship", identifier, relationshipType=kind, **{"from": of, "to": to})
