"""Text on this machine as a source: a file or a folder of .txt, .md, .jsonl, .jsonl.gz and .parquet."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ayllu.data.document import Document, Source, split_text
from ayllu.lab.error import UserError

ENDINGS = (".txt", ".md", ".jsonl", ".jsonl.gz", ".parquet")
TEXT_FIELDS = ("text", "content", "document", "story", "article", "body")
"""Where the text of a record is looked for, in this order."""
SEPARATOR = "<|endoftext|>"
"""Separates the documents of one .txt file, as in TinyStories."""
WHOLE = 20_000
"""Characters up to which a text stays one document; longer ones are cut into pieces."""
UNDECODABLE_MAX = 0.1
"""Share of characters that are no UTF-8 from which a file is refused rather than repaired."""

_CHUNK = 1 << 20


def folder_source(path: Path) -> Source:
    """The source `folder:PATH`. Raises UserError where nothing readable is there."""
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"there is no file or folder {path}: check the path after folder:")
    files = [path] if path.is_file() else _files_below(path)
    if not files:
        raise UserError(f"{path} holds no file that ends with {', '.join(ENDINGS)}: there is nothing to read")
    base = path.parent if path.is_file() else path
    name = f"folder:{path.resolve().name}"
    notes: list[str] = []
    return Source(
        name=name,
        title=path.resolve().name,
        licence="not stated",
        description=f"{len(files)} local file{'s' if len(files) > 1 else ''}.",
        required=True,
        read=lambda cache: read_files(files, base=base, source=name, notes=notes),
        notes=notes,
    )


def read_files(files: Sequence[Path], *, base: Path, source: str, notes: list[str]) -> Iterator[Document]:
    """Stream the documents of `files`; ids are paths below `base` with a number.

    `notes` gets what the report should say. Raises UserError, with the file's name and line, where a file is damaged,
    has no text field or is no text.
    """
    for path in files:
        name = path.relative_to(base).as_posix()
        try:
            for number, (text, group) in enumerate(_texts(path, name, notes), start=1):
                yield Document(text=text, source=source, id=f"{name}:{number}", group=group)
        except OSError as error:
            raise UserError(
                f"cannot read {path} ({error.strerror or error}): check the file and its permissions"
            ) from error


def _files_below(folder: Path) -> list[Path]:
    """Readable files in the order of their names; hidden ones are left alone."""
    found = (
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(ENDINGS) and path.is_file() and not _hidden(path.relative_to(folder))
    )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _texts(path: Path, name: str, notes: list[str]) -> Iterator[tuple[str, str]]:
    """Texts of one file, each with its group."""
    lower = path.name.lower()
    if lower.endswith(".parquet"):
        return _parquet_texts(path)
    if lower.endswith((".jsonl", ".jsonl.gz")):
        return _jsonl_texts(path, name, notes)
    return _plain_texts(path, name, notes)


def _plain_texts(path: Path, name: str, notes: list[str]) -> Iterator[tuple[str, str]]:
    """A plain file, read in chunks: its separated documents, or the whole of it, cut where it is long."""
    long = False
    lost = total = 0
    with path.open("rb") as file:
        decoder = _decoder(file, path)
        buffer = ""
        while chunk := file.read(_CHUNK):
            text = decoder.decode(chunk)
            lost, total = lost + text.count("\ufffd"), total + len(text)
            *whole, buffer = (buffer + text).split(SEPARATOR)
            for document in whole:
                yield from _cut_if_long(document, name, long)
                long = False
            if len(buffer) > _CHUNK:
                long = True
                *pieces, buffer = split_text(buffer)
                yield from ((piece, name) for piece in pieces)
        yield from _cut_if_long(buffer + decoder.decode(b"", final=True), name, long)
    _report_lost(lost, total, path, name, notes)


def _cut_if_long(text: str, group: str, long: bool) -> Iterator[tuple[str, str]]:
    """The text as one document, or as pieces of one group. `long`: pieces of it went before."""
    if long or len(text) > WHOLE:
        yield from ((piece, group) for piece in split_text(text))
    elif text.strip():
        yield text, ""


def _decoder(file: IO[bytes], path: Path) -> codecs.IncrementalDecoder:
    """A decoder for the file: UTF-16 where its first bytes say so, else UTF-8; what is invalid becomes U+FFFD."""
    start = file.read(4096)
    file.seek(0)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return codecs.getincrementaldecoder("utf-16")("replace")
    if b"\0" in start:
        raise UserError(f"{path} is not a text file (it holds zero bytes): take it out of the folder")
    return codecs.getincrementaldecoder("utf-8-sig")("replace")


def _report_lost(lost: int, total: int, path: Path, name: str, notes: list[str]) -> None:
    if lost > UNDECODABLE_MAX * total:
        raise UserError(
            f"{path} is not UTF-8 ({lost:,} of {total:,} characters cannot be read): "
            "convert it, for example with iconv -f latin1 -t utf-8"
        )
    if lost:
        notes.append(f"{name} is not UTF-8: {lost:,} of {total:,} characters could not be read")


def _jsonl_texts(path: Path, name: str, notes: list[str]) -> Iterator[tuple[str, str]]:
    """The texts of a file with one JSON value a line: an object with a text field, or a string."""
    lost = total = number = 0
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        try:
            for number, raw in enumerate(file, start=1):
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
                lost, total = lost + line.count("\ufffd"), total + len(line)
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except ValueError as error:
                    raise UserError(
                        f"{path} line {number} is not JSON ({error}): correct or remove the line"
                    ) from error
                if text := _text_of(value, f"{path} line {number}"):
                    yield from _cut_if_long(text, f"{name}:{number}", False)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{path} is damaged after line {number} ({error}): copy or make it again") from error
    _report_lost(lost, total, path, name, notes)


def _text_of(value: Any, place: str) -> str | None:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise UserError(f"{place} is neither an object nor a string: each line needs a field called text")
    for field in TEXT_FIELDS:
        if isinstance(value.get(field), str):
            return value[field]
        if field in value and value[field] is None:
            return None
    raise UserError(f"{place} has no text (fields: {', '.join(map(str, value)) or 'none'}): call the field text")


def _parquet_texts(path: Path) -> Iterator[tuple[str, str]]:
    """The text column of a parquet file, in batches."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            column = _text_column(file.schema_arrow, path)
            for batch in file.iter_batches(batch_size=1024, columns=[column]):
                for text in filter(None, batch.column(0).to_pylist()):
                    number += 1
                    yield from _cut_if_long(text, f"{path.name}:{number}", False)
    except (pa.ArrowInvalid, pa.ArrowIOError) as error:
        raise UserError(
            f"{path} is no readable parquet file ({str(error).splitlines()[0]}): copy or make it again"
        ) from error


def _text_column(schema: pa.Schema, path: Path) -> str:
    strings = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    for name in (*TEXT_FIELDS, *(strings if len(strings) == 1 else ())):
        if name in strings:
            return name
    raise UserError(
        f"{path} has no column called text (columns: {', '.join(schema.names)}): rename the one with the text"
    )
