"""A data card in Croissant 1.1: the sources, what they are under, and where each archive comes from.

Tables go along as JSON lines: mlcroissant 1.1.1 retypes the cells of CSV files (007 becomes 7, "None" nothing).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ayllu.release.gates import RECORDS, SOURCES

SPEC = "http://mlcommons.org/croissant/1.1"
TABLE = "sources.jsonl"
FIELDS = {
    "name": ("sc:Text", "What the source is called."),
    "kind": ("sc:Text", "Texts of the corpus, or dialogues."),
    "licence": ("sc:Text", "Its licence, as the source states it."),
    "documents": ("sc:Integer", "How many documents of it were used."),
    "bytes": ("sc:Integer", "How many bytes of text they hold."),
    "archives": ("sc:Text", "The archives that it was read from, with the sha256 of each."),
}
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of the specification, as mlcroissant 1.1.1 compares it."""


def source_lines(origins: Mapping[str, Any]) -> str:
    """The table of the sources, a JSON object a line."""
    rows = [
        {
            "name": source["name"],
            "kind": kind,
            "licence": source["licence"],
            "documents": source.get("documents"),
            "bytes": source.get("bytes"),
            "archives": "; ".join(
                f"{one['registry']} {one['name']} {one['version']} sha256:{one['sha256']}"
                for one in source.get("archives") or []
            ),
        }
        for kind in ("corpus", "dialogues")
        for source in origins.get(kind) or []
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def croissant(manifest: Mapping[str, Any], records: Mapping[str, Any], table: str) -> dict[str, Any]:
    """The data card; `table` is what `source_lines` gave, which lies beside it."""
    name, release = manifest["name"], records[RECORDS]["release"]
    content = table.encode()
    licences = dict.fromkeys(
        str(source["licence"]) for kind in ("corpus", "dialogues") for source in records[SOURCES].get(kind) or []
    )
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": SPEC,
        "name": f"{name}-training-data",
        "description": f"What the language model {name} {manifest['version']} learnt from, source by source.",
        "version": "1.0.0",
        "license": list(licences),
        "url": f"https://huggingface.co/{name}",
        "datePublished": release["date"],
        "creator": {"@type": "sc:Organization", "name": f"publishers of {name}"},
        "citeAs": f"Training data of {name} {manifest['version']}, model digest {manifest['model_digest']}",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": TABLE,
                "name": TABLE,
                "description": "The sources, a JSON object a line.",
                "contentUrl": TABLE,
                "contentSize": f"{len(content)} B",
                "encodingFormat": "application/jsonlines",
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "sources",
                "name": "sources",
                "description": "One record a source.",
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"sources/{field}",
                        "name": field,
                        "description": told,
                        "dataType": kind,
                        "source": {"fileObject": {"@id": TABLE}, "extract": {"column": field}},
                    }
                    for field, (kind, told) in FIELDS.items()
                ],
            }
        ],
    }
