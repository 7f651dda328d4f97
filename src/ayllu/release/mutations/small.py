"""A release of a model with random weights, built in seconds: what is harmed to test verification."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.evals.score import DocumentBits, Outcome, Scores
from ayllu.release import sign
from ayllu.release.build import build_release
from ayllu.release.digest import file_digests, inspect_weights
from ayllu.release.files.contents import MANIFEST
from ayllu.release.files.listing import list_folder
from ayllu.release.gates import RECORDS, SCORES
from ayllu.release.manifest import write_manifest
from ayllu.release.policy import Policy
from ayllu.release.trust.policy_file import POLICY, read_policy, sign_policy

NAME, VERSION = "small", "1.0.0"
VOCABULARY = 512
RULES = {
    "name": "careful",
    "thresholds": [
        {"score": "sets/hellaswag/accuracy_norm", "at_least": 0.05, "least": 50},
        {"score": "bits_per_byte/letters", "at_most": 3.0},
    ],
}
SOURCES = [
    {
        "name": "letters",
        "title": "Sentences written for this test",
        "licence": "CC0-1.0",
        "archives": [{"registry": "none", "name": "letters", "version": "1", "filename": "a", "sha256": "ab" * 32}],
        "documents": 20,
        "bytes": 20_000,
    }
]
TEXTS = [
    "The llama walks along the river in the morning, and the shepherd follows it with a song about the mountains.",
    "A community raises its animals in common: everyone feeds them, everyone shears them, everyone has the wool.",
]


@dataclass(frozen=True, kw_only=True)
class Small:
    """The release, and what a publisher has at home."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    policy: Policy
    public: Path
    """The publisher's public key, as a user has it from elsewhere."""


def build_small(place: Path) -> Small:
    """Build it in `place`, an empty folder, with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = place / "publisher.pem"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (place / "publisher.pub").write_bytes(sign.public_pem(key.public_key()))
    (place / "policy").mkdir()
    rules = place / "policy" / POLICY
    rules.write_text(json.dumps(RULES, indent=1), encoding="utf-8")
    sign_policy(rules, key)
    signed = read_policy(rules)
    write_scores(place / "scores", seed=0, about={"policy": signed.digests})
    (place / "loss.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    build_release(
        place / "release",
        weights=write_model(place / "weights", seed=0),
        scores=place / "scores",
        sources=SOURCES,
        records={"predicted": {"loss": 3.5}, "measured": {"loss": 3.25}, "seed": 7},
        name=NAME,
        version=VERSION,
        policy=signed,
        key=private,
        figures=[place / "loss.png"],
    )
    return Small(folder=place / "release", key=key, policy=signed.policy, public=place / "publisher.pub")


def write_model(folder: Path, *, seed: int) -> Path:
    """A model with random weights and a tokenizer learnt from two sentences, as a Hugging Face folder."""
    import torch

    from ayllu.model.config import ModelConfig
    from ayllu.model.files import hf
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.learn(TEXTS * 20, VOCABULARY)
    config = ModelConfig(
        vocabulary=VOCABULARY, layers=2, width=32, heads=4, kv_heads=2, feed_forward=64, context=128, tied=True
    )
    model = Transformer(config)
    model.initialise(seed)
    hf.save(folder, model, dtype=torch.float32, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    tokenizer.save(folder)
    return folder


def write_scores(folder: Path, *, seed: int, about: dict[str, Any], bits: float = 1500.0) -> None:
    """Scores of 60 questions and 20 documents that nobody asked: drawn with `seed`."""
    drawn = random.Random(seed)
    outcomes = tuple(
        Outcome(
            id=f"hellaswag/{i}",
            set="hellaswag",
            digest=f"{i:016x}",
            gold=i % 4,
            log_likelihoods=tuple(drawn.gauss(-20, 3) for _ in range(4)),
            bytes=(20, 25, 30, 35),
            tokens=(5, 6, 7, 8),
        )
        for i in range(60)
    )
    documents = tuple(
        DocumentBits(source="letters", digest=f"{i:016x}", bits=bits + i, bytes=1000, tokens=300) for i in range(20)
    )
    assert all(map(math.isfinite, outcomes[0].log_likelihoods))
    Scores(outcomes=outcomes, documents=documents, about=about).save(folder)


def seal(folder: Path, key: ec.EllipticCurvePrivateKey, policy: Policy) -> None:
    """Write manifest, key and signature anew for what is in `folder` now, as `key`'s owner would."""
    for file in (MANIFEST, sign.SIGNATURE):
        (folder / file).unlink(missing_ok=True)
    (folder / sign.PUBLIC_KEY).write_bytes(sign.public_pem(key.public_key()))
    said = {file: json.loads((folder / file).read_text(encoding="utf-8")) for file in (RECORDS, SCORES)}
    write_manifest(folder, sorted(list_folder(folder).files), inspect_weights(folder), said, policy)
    sign_files(folder, key)


def sign_files(folder: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Sign the files of `folder` as they are, the manifest too."""
    (folder / sign.SIGNATURE).unlink(missing_ok=True)
    digests = file_digests(folder, sorted(list_folder(folder).files))
    (folder / sign.SIGNATURE).write_text(sign.sign(NAME, digests, key), encoding="utf-8")
