"""The documents of a release: all follow from its manifest and records, so that verification makes them again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ayllu.release.documents.bill_of_materials import bill_of_materials
from ayllu.release.documents.croissant import TABLE, croissant, source_lines
from ayllu.release.documents.earlier import CHANGES, change_log
from ayllu.release.documents.hub import eval_results
from ayllu.release.documents.openness import OPENNESS as SAID
from ayllu.release.documents.openness import openness, openness_line, said_openness
from ayllu.release.documents.spdx import spdx_document
from ayllu.release.documents.training_summary import training_summary
from ayllu.release.documents.use import ACCEPTABLE_USE
from ayllu.release.files.contents import DOCUMENTS
from ayllu.release.files.listing import read_small
from ayllu.release.gates import PAGES, RECORDS, SCORES, SOURCES

CARD = PAGES[0]
FORMAT = 1
"""Grows when the same release would get other documents: verification compares bytes."""
FIELD = "documents"
"""Of the manifest: the format of the documents in the release; missing where it has none."""
BILL, OPENNESS, SPDX, DATA_CARD = "mlbom.cdx.json", "openness.json", "spdx.json", "croissant.json"
SUMMARY, USE, RESULTS = "TRAINING_CONTENT.md", "ACCEPTABLE_USE.md", "eval_results.yaml"


def documents(manifest: Mapping[str, Any], records: Mapping[str, Any]) -> dict[str, str]:
    """Their texts by file name; `records` has the values of records.json, scores.json and sources.json by name.

    What the manifest says of the documents themselves is passed over.
    """
    files = {path: entry for path, entry in manifest["files"].items() if not path.startswith(DOCUMENTS)}
    manifest = {**manifest, "files": files}
    table = source_lines(records[SOURCES])
    return {
        BILL: _json(bill_of_materials(manifest, records)),
        OPENNESS: _json(openness(manifest, records)),
        SPDX: _json(spdx_document(manifest, records)),
        DATA_CARD: _json(croissant(manifest, records, table)),
        TABLE: table,
        RESULTS: yaml.safe_dump(eval_results(records[RECORDS], records[SCORES]), sort_keys=False, allow_unicode=True),
        SUMMARY: training_summary(manifest, records),
        USE: ACCEPTABLE_USE,
        **({CHANGES: change_log(records[RECORDS])} if "changes" in records[RECORDS] else {}),
    }


def document_problems(folder: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each document in the release that its records do not give."""
    made_as = manifest.get(FIELD)
    there = sorted(path for path in manifest["files"] if path.startswith(DOCUMENTS))
    if made_as is None:
        yield from ((path, "is a document, and the manifest says that there are none") for path in there)
        return
    if made_as != FORMAT:
        yield (
            "manifest.json",
            f"says documents of format {made_as}, and this Ayllu knows {FORMAT}: take that which made it",
        )
        return
    records = {name: json.loads(read_small(folder / name)) for name in (RECORDS, SCORES, SOURCES)}
    wanted = {DOCUMENTS + name: text for name, text in documents(manifest, records).items()}
    for path in sorted(wanted.keys() - set(there)):
        yield path, "is missing; every release of this format holds it"
    for path in there:
        if path not in wanted:
            yield path, "is no document of this format"
        elif read_small(folder / path) != wanted[path].encode():
            yield path, "says something else than the records give"
    if SAID in records[RECORDS]:
        yield from _openness_problems(folder, manifest, records)


def _openness_problems(
    folder: Path, manifest: Mapping[str, Any], records: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Where the card claims another class of openness than the release has."""
    found = said_openness(manifest["files"].keys(), records[SOURCES])
    if records[RECORDS][SAID] != found:
        yield RECORDS, "says another class of openness than the release has"
    elif openness_line(found, found["framework"]) not in read_small(folder / CARD).decode():
        yield CARD, "does not say which class of openness the release has"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
