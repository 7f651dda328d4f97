"""The folder of a proof: proof.json, whose digest stands in the signed release, and the files that it lists.

It lies beside the release and never in it. Every file is as long and has the sha256 that proof.json says, so that one
digest in the release vouches for all of them; only after that is anything of it believed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ayllu.release.digest import file_digests
from ayllu.release.files.listing import left_by_tools, list_folder, read_small
from ayllu.release.gates import RECORDS, Problem
from ayllu.release.reference import json_object, write_json

PROOF, FORMAT = "proof.json", 1
FOLDER = "proof"
"""What a proof is called where nobody says another name, beside the release."""
GATE = "re-execution"
_HELD = re.compile(r"(?:[\w-]+/){0,2}[\w][\w.-]*\.(?:json|jsonl|safetensors)", re.ASCII)
_LINES = 1 << 28
"""Bytes of the longest file that is no tensors."""


def seal_proof(folder: Path, facts: Mapping[str, Any]) -> str:
    """Write proof.json over all files of `folder`; its sha256, which the release is to hold."""
    paths = sorted(path for path in list_folder(folder).files if path != PROOF)
    digests = file_digests(folder, paths)
    files = {path: {"bytes": (folder / path).stat().st_size, "sha256": digests[path]} for path in paths}
    write_json(folder / PROOF, {"format": FORMAT, **facts, "files": files})
    return hashlib.sha256((folder / PROOF).read_bytes()).hexdigest()


def promised(folder: Path) -> Mapping[str, Any] | None:
    """What the release in `folder`, which was verified, says of its proof; None where it says nothing."""
    records = json_object(read_small(folder / RECORDS).decode("utf-8"), RECORDS)
    said = records.get("proof")
    return said if isinstance(said, dict) else None


def beside(release: Path) -> Path:
    """Where the proof of the release in a folder lies: FOLDER-proof, as it is published, or `proof` beside it."""
    release = release.absolute()
    own = release.with_name(f"{release.name}-{FOLDER}")
    return own if own.is_dir() else release.parent / FOLDER


def open_proof(folder: Path, sha256: str, model_digest: str | None) -> tuple[dict[str, Any], list[Problem]]:
    """What proof.json says, and what is wrong with the folder; where anything is, nothing that it says counts."""
    if not (folder / PROOF).is_file():
        return {}, [_problem(PROOF, f"is missing in {folder}: give the folder of the proof with --proof")]
    try:
        content = read_small(folder / PROOF)
    except OSError as error:
        return {}, [_problem(PROOF, f"cannot be read ({error.strerror or error})")]
    if hashlib.sha256(content).hexdigest() != sha256:
        return {}, [_problem(PROOF, _whose(content, model_digest))]
    try:
        facts = json_object(content.decode("utf-8"), PROOF)
        if facts["format"] != FORMAT or facts["release"]["model_digest"] != model_digest:
            raise ValueError("it is of another format, or of another model")
        return facts, list(_file_problems(folder, facts["files"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, [_problem(PROOF, f"is no proof of this release ({error})")]


def _whose(content: bytes, model_digest: str | None) -> str:
    """Whether it is the proof of something else, or of this and changed, as far as it can be believed."""
    try:
        of_another = json.loads(content)["release"]["model_digest"] != model_digest
    except (ValueError, KeyError, TypeError, RecursionError):
        of_another = False
    if of_another:
        return "is the proof of another release: its digest is not the one that this release was signed with"
    return "was changed after the release was signed: its digest is not the one that the release holds"


def _file_problems(folder: Path, files: Mapping[str, Any]) -> Iterator[Problem]:
    listing = list_folder(folder)
    for path, reason in sorted(listing.refused.items()):
        yield _problem(path, reason)
    # What the hub's client leaves beside what it fetches is nobody's, but where the proof itself lists it.
    sizes = {path: size for path, size in listing.files.items() if path in files or not left_by_tools(path)}
    found = {path: size for path, size in sizes.items() if path != PROOF}
    for path in sorted(found.keys() - files.keys()):
        yield _problem(path, "was added after the release was signed")
    for path in sorted(files.keys() - found.keys()):
        yield _problem(path, "is missing")
    there = sorted(found.keys() & files.keys())
    for path in there:
        if not _HELD.fullmatch(path):
            yield _problem(path, "is none of the files that a proof holds: JSON and safetensors only")
        elif not path.endswith(".safetensors") and found[path] > _LINES:
            yield _problem(path, f"has {found[path]:,} bytes, more than such a file of a proof ever needs")
    sized = [path for path in there if found[path] == files[path]["bytes"]]
    digests = file_digests(folder, sized)
    for path in there:
        if digests.get(path) != files[path]["sha256"]:
            yield _problem(path, "was changed after the release was signed")


def _problem(path: str, reason: str) -> Problem:
    return Problem(file=f"{FOLDER}/{path}", reason=reason, gate=GATE)
