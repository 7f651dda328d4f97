"""Names for results: the same work on the same content has the same key, and nothing else has it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError

CHUNK = 1 << 20


def stable(value: Any, where: str = "argument") -> Any:
    """`value` as JSON that is the same in every process.

    None, bool, int, finite float, str, lists, tuples, dictionaries with string keys and frozen dataclasses of these
    have one; anything else raises TypeError naming `where`: guessing (`str(value)`) is how stale results are served.
    Raises UserError for text that is no UTF-8.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where} is {value}, which no key can hold")
        return value
    if isinstance(value, list | tuple):
        return [stable(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(f"{where} has keys that are no strings")
        return {_text(name, where): stable(value[name], f"{where}[{name!r}]") for name in sorted(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and value.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        fields = {f.name: stable(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
        return {"dataclass": type(value).__qualname__, **fields}
    raise TypeError(
        f"{where} is a {type(value).__name__}, which has no stable form; pass plain values or frozen dataclasses"
    )


def _text(value: str, where: str) -> str:
    """A text as it is; bytes of a command line that are no UTF-8 come as what no file and no key can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where} is {value!r:.60}, which is no text in UTF-8; write it in UTF-8") from None
    return value


def canonical(value: Any) -> bytes:
    """JSON without spaces, keys sorted."""
    return json.dumps(stable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def key_of(stage: str, rev: int, arguments: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """sha256 of a stage's identity, its author's revision, its arguments and the content digests of its inputs."""
    return hashlib.sha256(
        canonical({"stage": stage, "rev": rev, "arguments": dict(arguments), "inputs": dict(inputs)})
    ).hexdigest()


def file_digest(path: Path, read: Callable[[int], None] = lambda count: None) -> str:
    """sha256 of a file; `read` is told how many bytes each block has."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
            read(len(block))
    return digest.hexdigest()


def content_digest(files: Mapping[str, str]) -> str:
    """One digest for a folder, from the digests of its files by relative path."""
    return hashlib.sha256(canonical(dict(files))).hexdigest()
