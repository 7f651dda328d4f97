"""Stores that hold many results, written as the runner writes them but without the work."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ayllu.lab.key import content_digest
from ayllu.lab.store import Store, write_manifest

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


def put(store: Store, stage: str, number: int, *, files: dict[str, str] | None = None, **more: Any) -> str:
    """A finished artifact of `stage`; `files` are texts by name, `more` fields of its manifest. Its key."""
    key = hashlib.sha256(f"{stage} {number}".encode()).hexdigest()
    folder = store.path(stage, key)
    folder.mkdir(parents=True)
    listed = {}
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        listed[name] = {"bytes": len(text.encode()), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    manifest = {
        "stage": stage,
        "rev": 1,
        "key": key,
        "arguments": {"seed": number},
        "inputs": {},
        "code": None,
        "record": {},
        "predictions": {},
        "started": BEGAN.isoformat(),
        "finished": (BEGAN + timedelta(minutes=number)).isoformat(timespec="seconds"),
        "seconds": 1.5,
        "machine": {"system": "Linux"},
        "files": listed,
        "digest": content_digest({name: entry["sha256"] for name, entry in listed.items()}),
    }
    write_manifest(folder, manifest | more)
    return key


def taken_in(stage: str, key: str) -> dict[str, str]:
    """An input as manifests name it."""
    return {"stage": stage, "key": key, "digest": "0" * 64}


def many(home: Path, count: int) -> Store:
    """A store of `count` results: trainings, their scores, and a release now and then."""
    store = Store(home)
    for number in range(count // 2):
        loss = 4.0 - number / count
        record = {"loss": loss, "parameters": 1_000_000 + number, "tokens": 5_000_000, "steps": 400}
        weights = {"config.json": "{}", "model.safetensors": "x" * 50}
        model = put(store, "pretrain", number, files=weights, record=record, arguments={"seed": number, "lr": 1e-3})
        scores = {"sets": {}, "bits_per_byte": {"books": {"value": loss / 3}}}
        put(
            store,
            "evaluate",
            number,
            files={"scores.json": json.dumps(scores)},
            inputs={"model": taken_in("pretrain", model)},
        )
    return store
