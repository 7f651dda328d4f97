"""Texts out of plain files and out of records: lines of JSON, JSON arrays, CSV and parquet, each read as a stream."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ayllu.lab.error import UserError

TEXT_FIELDS = ("text", "content", "document", "story", "article", "body")
"""Where the text of a record is looked for, in this order."""
SEPARATOR = "<|endoftext|>"
"""Separates the documents of one plain file, as in TinyStories."""
UNDECODABLE_MAX = 0.1
"""Share of characters that are no UTF-8 from which a file is refused rather than repaired."""

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order marks; the longer ones first, because one begins with another."""
_CHUNK = 1 << 20
_LARGEST_CELL = 1 << 30


class DamagedError(Exception):
    """Bytes that cannot be what the file's name says."""


class NoTextError(UserError):
    """A file of a readable kind that has no text in it, such as a table of numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A text as a file holds it, with line breaks as `\\n`."""

    text: str
    source: str | None = None
    """What the record says where it comes from, in a field called source."""
    more: bool = False
    """Whether the file goes on with the same document: a plain text is read in pieces."""


def buffered(file: IO[bytes]) -> io.BufferedReader:
    """The file as one whose next bytes can be looked at before they are read."""
    return file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, file))


class Decoded:
    """The characters of a file, by its byte-order mark or else UTF-8; the invalid become U+FFFD and are counted."""

    def __init__(self, file: IO[bytes], place: str) -> None:
        self.place, self.lost, self.total = place, 0, 0
        self._file = buffered(file)
        start = self._file.peek(4)[:4]
        self.encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8-sig")

    def stream(self, newline: str | None) -> io.TextIOWrapper:
        """The characters as Python reads a file opened with `newline`."""
        return io.TextIOWrapper(self._file, self.encoding, errors="replace", newline=newline)

    def count(self, text: str) -> str:
        """Count the characters of `text` and those of them that could not be decoded."""
        self.lost, self.total = self.lost + text.count("\ufffd"), self.total + len(text)
        return text

    def report(self, name: str, notes: list[str]) -> None:
        """Say what was lost. Raises UserError where it is so much that the file is no UTF-8."""
        if self.lost > UNDECODABLE_MAX * self.total:
            raise UserError(
                f"{self.place} is not UTF-8 ({self.lost:,} of {self.total:,} characters cannot be read): "
                "convert it, for example with iconv -f latin1 -t utf-8"
            )
        if self.lost:
            notes.append(f"{name} is not UTF-8: {self.lost:,} of {self.total:,} characters could not be read")


def plain_texts(file: IO[bytes], place: str, name: str, notes: list[str]) -> Iterator[Text]:
    """The separated documents of a plain file, read in chunks of a million characters."""
    decoded = Decoded(file, place)
    stream, buffer = decoded.stream(None), ""
    while chunk := stream.read(_CHUNK):
        if "\0" in chunk:
            raise UserError(f"{place} is not a text file (it holds zero bytes): take it out of the folder")
        *whole, buffer = (buffer + decoded.count(chunk)).split(SEPARATOR)
        yield from (Text(text=document) for document in whole)
        if len(buffer) > _CHUNK:
            # A separator may lie across the end of a chunk.
            yield Text(text=buffer[: -len(SEPARATOR)], more=True)
            buffer = buffer[-len(SEPARATOR) :]
    yield Text(text=buffer)
    decoded.report(name, notes)


def line_texts(file: IO[bytes], place: str, name: str, notes: list[str]) -> Iterator[Text]:
    """The texts of a file with one JSON value a line: an object with a text field, or a string."""
    number = 0
    try:
        decoded = Decoded(file, place)
        for number, line in enumerate(decoded.stream("\n"), start=1):
            if not decoded.count(line).strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{place} line {number} is not JSON ({error}): correct or remove the line") from error
            if found := record_text(value, f"{place} line {number}"):
                yield found
    except DamagedError as error:
        raise UserError(f"{place} is damaged after line {number} ({error}): copy or make it again") from error
    decoded.report(name, notes)


def json_texts(file: IO[bytes], place: str, name: str, notes: list[str]) -> Iterator[Text]:
    """The texts of a .json file: an array of records, one record, or one a line, as many data sets write it."""
    opened = buffered(file)
    first = opened.peek(1)[:4096].lstrip(codecs.BOM_UTF8).lstrip().partition(b"\n")[0].strip()
    if first.startswith(b"{") and first.endswith(b"}"):
        yield from line_texts(opened, place, name, notes)
        return
    decoded = Decoded(opened, place)
    try:
        value = json.loads(decoded.count(decoded.stream("\n").read()))
    except (ValueError, RecursionError) as error:
        if first.startswith(b"{") and "Extra data" not in str(error):
            raise UserError(f"{place} is not JSON ({error}): correct it") from error
        raise UserError(f"{place} is neither a JSON array nor JSON lines ({error}): correct it") from error
    rows = value if isinstance(value, list) else [value]
    for number, row in enumerate(rows, start=1):
        if found := record_text(row, f"{place} record {number}"):
            yield found
    decoded.report(name, notes)


_DELIMITERS = (";", "\t", "|", ",")
"""What may stand between the columns of a table, whatever its ending says."""


def table_texts(file: IO[bytes], place: str, name: str, notes: list[str], *, tabs: bool) -> Iterator[Text]:
    """The text column of a CSV file (RFC 4180, with a line of names), or of one with tabs."""
    csv.field_size_limit(_LARGEST_CELL)
    decoded = Decoded(file, place)
    stream = decoded.stream("")
    try:
        reader = csv.DictReader(stream, dialect="excel-tab" if tabs else "excel", strict=True)
        columns = list(reader.fieldnames or ())
        if len(columns) == 1 and (other := next((sign for sign in _DELIMITERS if sign in columns[0]), None)):
            # Spreadsheets of most of Europe write a semicolon.
            columns = next(csv.reader(columns, delimiter=other, strict=True))
            reader = csv.DictReader(stream, columns, delimiter=other, strict=True)
        column = text_column(columns, columns, place)
        for row in reader:
            if text := decoded.count(row[column] or ""):
                source = row.get("source") if column != "source" else None
                yield Text(text=_lines(text), source=source or None)
    except csv.Error as error:
        raise UserError(f"{place} line {reader.line_num} is no CSV ({error}): correct it") from error
    decoded.report(name, notes)


def parquet_texts(file: IO[bytes], place: str, name: str, notes: list[str]) -> Iterator[Text]:
    """The text column of a parquet file, in batches, whatever way of holding text its type is."""
    lost = total = row = 0
    try:
        with pq.ParquetFile(file) as table:
            column, is_json = _parquet_column(table.schema_arrow, place)
            extra = ["source"] if column != "source" and _is_text(table.schema_arrow, "source") else []
            for batch in table.iter_batches(batch_size=1024, columns=[column, *extra]):
                columns = [_strings(batch.column(name)) for name in (column, *extra)]
                for values in zip(*columns, strict=True):
                    row += 1
                    found = _decode_row(values[0], is_json, f"{place} row {row}")
                    if found is None:
                        continue
                    lost, total = lost + found.count("\ufffd"), total + len(found)
                    yield Text(text=_lines(found), source=(values[1] if extra else None) or None)
    except (pa.ArrowException, EOFError) as error:
        raise _bad_parquet(place, error) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _bad_parquet(place, error) from error
    counted = Decoded(io.BytesIO(), place)
    counted.lost, counted.total = lost, total
    counted.report(name, notes)


def record_text(value: Any, place: str) -> Text | None:
    """The text of a record; None where it says that there is none. Raises UserError where it has no text."""
    if isinstance(value, str):
        return Text(text=_lines(value)) if value else None
    if not isinstance(value, dict):
        raise NoTextError(f"{place} is neither an object nor a string: each line needs a field called text")
    for field in TEXT_FIELDS:
        if isinstance(value.get(field), str):
            source = value.get("source")
            return Text(text=_lines(value[field]), source=source if isinstance(source, str) and source else None)
        if field in value and value[field] is None:
            return None
    kinds = ", ".join(f"{key} is {_kind(value[key])}" for key in TEXT_FIELDS if key in value)
    said = f"; {kinds}" if kinds else ""
    fields = ", ".join(map(str, value)) or "none"
    raise NoTextError(f"{place} has no text (fields: {fields}{said}): call the field text")


def text_column(columns: Sequence[str], texts: Sequence[str], place: str, types: str = "") -> str:
    """Which of a table's columns holds the text; `texts` are those that can. Raises NoTextError where none does."""
    for name in (*TEXT_FIELDS, *(texts if len(texts) == 1 else ())):
        if name in texts:
            return name
    raise NoTextError(
        f"{place} has no column called text (columns: {', '.join(columns) or 'none'}{types}): "
        "rename the one with the text"
    )


def _parquet_column(schema: pa.Schema, place: str) -> tuple[str, bool]:
    texts = [field.name for field in schema if _is_text(schema, field.name)]
    other = [f"{f.name} is {f.type}" for f in schema if f.name in TEXT_FIELDS and f.name not in texts]
    column = text_column(schema.names, texts, place, "".join(f"; {kind}" for kind in other))
    return column, "json" in str(schema.field(column).type)


def _is_text(schema: pa.Schema, name: str) -> bool:
    """Whether a column holds text: strings or bytes of any layout, categories of them, or JSON values."""
    if schema.names.count(name) != 1:
        return False
    kind = schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    kind = getattr(kind, "storage_type", kind)
    return str(kind) in ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "null")


def _strings(column: pa.Array) -> list[str | None]:
    """The values of a column as strings; bytes that are no UTF-8 become U+FFFD."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = getattr(column, "storage", column)
    if pa.types.is_null(column.type):
        return [None] * len(column)
    if str(column.type) in ("string", "large_string", "string_view"):
        column = column.cast(pa.string_view() if str(column.type) == "string_view" else column.type)
        try:
            return column.to_pylist()
        except UnicodeDecodeError:
            column = column.cast(pa.large_string()).cast(pa.large_binary())
    return [None if value is None else value.decode("utf-8-sig", "replace") for value in column.to_pylist()]


def _decode_row(value: str | None, is_json: bool, place: str) -> str | None:
    """The text of a row, out of its JSON where the column holds that; None where it is empty."""
    if not is_json or value is None:
        return value or None
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON ({error}): correct or remove the row") from error
    if decoded is not None and not isinstance(decoded, str):
        raise NoTextError(f"{place} holds {_kind(decoded)} where the others have text: make the column plain text")
    return decoded or None


def _bad_parquet(place: str, error: Exception) -> UserError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"{place} is no readable parquet file ({said}): copy or make it again")


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _kind(value: Any) -> str:
    names = {list: "a list", dict: "an object", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "a string")
