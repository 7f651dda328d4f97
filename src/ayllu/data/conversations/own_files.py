"""Files of the user's own rows as lines of JSON: as they are, compressed, or in parquet."""

from __future__ import annotations

import io
import json
import lzma
import zlib
from pathlib import Path
from typing import IO, Any, cast

from ayllu.lab.error import UserError
from ayllu.lab.visible import visible

MOST_BYTES = 4 << 30
"""Most that a file may unpack to: it is read whole."""
NEEDED = ("content",)
"""Fields that say something where they are null."""


def json_lines(path: Path, shown: str) -> str:
    """The text of a file of JSON lines or of one JSON list, unpacked; rows of parquet as JSON lines.

    UserError where it cannot be read, or has another ending that says what it is.
    """
    from ayllu.data.sources.reader import READERS, UNPACKERS, ending_of  # which bring pyarrow and libraries for pages

    ending, packed = ending_of(path.name)
    if ending in READERS and ending not in (".jsonl", ".ndjson", ".jsonlines", ".json", ".txt", ".text", ".parquet"):
        raise UserError(visible(f"{shown} is {ending}, which holds no rows of JSON: give JSONL, JSON or parquet"))
    try:
        with path.open("rb") as opened:
            file: IO[bytes] = opened
            for unpacker in packed:
                file = cast(IO[bytes], UNPACKERS[unpacker](file))
            content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        why = getattr(error, "strerror", None) or str(error) or "it ends too early"
        what = "cannot be unpacked" if packed and path.is_file() else "cannot be read"
        raise UserError(visible(f"{shown} {what} ({why}): give a whole file of JSONL, JSON or parquet")) from error
    if len(content) > MOST_BYTES:
        raise UserError(visible(f"{shown} unpacks to more than {MOST_BYTES >> 30} GiB: cut it into smaller files"))
    if ending == ".parquet":
        return _parquet_lines(content, shown)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(visible(f"{shown} is not UTF-8 text ({error}): convert it first")) from error


def _parquet_lines(content: bytes, shown: str) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
        return "".join(json.dumps(_given(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    except (pa.ArrowException, OSError) as error:
        raise UserError(visible(f"{shown} is no parquet that can be read ({error}): write it again")) from error
    except (TypeError, ValueError) as error:
        raise UserError(visible(f"{shown} has a column that JSON cannot say ({error}): leave it out")) from error


def _given(value: Any) -> Any:
    """Without the fields that a row of parquet has only because others have them."""
    if isinstance(value, list):
        return [_given(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _given(entry) for name, entry in value.items() if entry is not None or name in NEEDED}
    return value
