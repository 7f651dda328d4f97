"""Hub data sets: through the real client against a server on this machine, and from its cache without one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ayllu.data.sources.hub import HubDataset, choose_files, parse_hub_name
from ayllu.lab.error import UserError
from support.hub import COMMIT, NOWHERE, hub_environment, serving_hub

CARD = """---
license: cc0-1.0
configs:
- config_name: small
  data_files:
  - split: train
    path: small/train-*.parquet
  - split: test
    path: small/test-*.parquet
- config_name: lines
  default: true
  data_files: lines/*.jsonl
---
# Small stories
"""

READ = """
import sys, json
from pathlib import Path
from ayllu.data.sources.registry import find_source
from ayllu.lab.error import UserError
for name in sys.argv[1:]:
    try:
        source = find_source(name)
        texts = {d.id: d.text for d in source.read(Path("unused"))}
        print(json.dumps({"texts": texts, "notes": source.notes}))
    except UserError as error:
        print(json.dumps({"error": str(error)}))
"""
SMALL = {"small/train-0.parquet:1": "one", "small/train-0.parquet:2": "two", "small/train-1.parquet:1": "three"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a data set."""
    root = tmp_path_factory.mktemp("hub") / "stories"
    (root / "small").mkdir(parents=True)
    (root / "lines").mkdir()
    (root / "README.md").write_text(CARD)
    pq.write_table(pa.table({"text": ["one", "two"]}), root / "small" / "train-0.parquet")
    pq.write_table(pa.table({"text": ["three"]}), root / "small" / "train-1.parquet")
    pq.write_table(pa.table({"text": ["never"]}), root / "small" / "test-0.parquet")
    (root / "lines" / "a.jsonl").write_text('{"text": "four"}\n{"text": "five"}\n')
    return root


@pytest.fixture(scope="module")
def hub(repository: Path) -> Iterator[str]:
    with serving_hub("anna/stories", repository, kind="datasets") as served:
        yield served.endpoint


def read(names: list[str], home: Path, endpoint: str, *, offline: bool = False) -> list[dict[str, Any]]:
    """Read sources in a process of its own."""
    environment = hub_environment(home, endpoint, offline=offline)
    command = [sys.executable, "-c", READ, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_data_set_is_read_through_the_client_and_then_from_its_cache(hub: str, tmp_path: Path) -> None:
    pinned = f"hf:anna/stories:small@{COMMIT}"
    small, default, nothing, revision, config = read(
        ["hf:anna/stories:small", "hf:anna/stories", "hf:anna/nothing", "hf:anna/stories@v9", "hf:anna/stories:large"],
        tmp_path,
        hub,
    )
    assert small["texts"] == SMALL
    assert small["notes"] == [f"revision {COMMIT}, 2 files of the train split", "licence on the card: cc0-1.0"]
    assert list(default["texts"].values()) == ["four", "five"]
    assert "there is no data set anna/nothing" in nothing["error"]
    assert "has no revision v9" in revision["error"]
    assert "no configuration large: choose small, lines" in config["error"]
    # The same without the hub: switched off, and out of reach.
    cached, missing = read([pinned, "hf:anna/nothing"], tmp_path, NOWHERE, offline=True)
    assert cached["texts"] == SMALL
    assert "go online" in missing["error"]
    (unreachable,) = read([pinned], tmp_path, NOWHERE)
    assert unreachable["texts"] == SMALL


def test_names() -> None:
    assert parse_hub_name("hf:a/b-c.d") == HubDataset(repository="a/b-c.d")
    assert parse_hub_name("hf:a/b:en.x@refs/convert/parquet") == HubDataset(
        repository="a/b", config="en.x", revision="refs/convert/parquet"
    )
    for wrong in ("hf:", "hf:a", "hf:a/b/c", "hf:a/b:"):
        with pytest.raises(UserError, match="does not name a data set"):
            parse_hub_name(wrong)


def test_files_without_a_card() -> None:
    names = ["en/train-0.parquet", "en/validation-0.parquet", "fr/train-0.parquet", "notes.txt"]
    plain = HubDataset(repository="a/b")
    assert choose_files(names, {}, plain) == ["en/train-0.parquet", "fr/train-0.parquet"]
    assert choose_files(names, {}, HubDataset(repository="a/b", config="fr")) == ["fr/train-0.parquet"]
    assert choose_files(["all.jsonl"], {}, plain) == ["all.jsonl"]
    with pytest.raises(UserError, match="no parquet or JSONL file"):
        choose_files(["notes.txt"], {}, plain)
