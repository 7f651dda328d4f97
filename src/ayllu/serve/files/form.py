"""Forms with a file (multipart/form-data, RFC 7578), read as they arrive: no file ever lies in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Protocol, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from ayllu.lab.visible import visible
from ayllu.serve.errors import ApiError

MOST_FIELDS = 64
MOST_FIELD_BYTES = 64 << 10
MOST_HEADER_BYTES = 8 << 10
LONGEST_NAME = 255
TRANSPARENT = ("", "7bit", "8bit", "binary")
"""Encodings of a part that change nothing (RFC 7578, section 4.7, deprecates all others)."""


class Sink(Protocol):
    """Where the bytes of a file go."""

    def write(self, data: bytes) -> object: ...


class Form:
    """What a form said: its fields, each as often as it came, and the name of its file."""

    def __init__(self) -> None:
        self.fields: dict[str, list[str]] = {}
        self.filename: str | None = None
        self.file_bytes = 0

    def one(self, name: str) -> str | None:
        """The field `name`; ApiError where it came twice."""
        values = self.fields.get(name, [])
        if len(values) > 1:
            raise ApiError(400, f"{name} is there {len(values)} times; give it once", param=name, code="invalid_value")
        return values[0] if values else None


async def read_form(
    http: Request, open_file: Callable[[], Sink], *, file_field: str = "file", required: bool = True
) -> Form:
    """Read a form whose field `file_field` is a file: its bytes go to what `open_file` gives, the rest is returned.

    ApiError for what is no form, for a second file, for none where one is `required`, and for fields that are too many
    or too large.
    """
    kind, options = parse_options_header(http.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ApiError(400, "the body must be a form: Content-Type: multipart/form-data with its boundary")
    reader = _Reader(file_field)
    parser = MultipartParser(boundary, cast(Any, reader.callbacks()))
    sink: Sink | None = None
    try:
        async for chunk in http.stream():
            parser.write(chunk)
            data = reader.take()
            if reader.form.filename is not None and sink is None:
                sink = open_file()
            if data and sink is not None:
                await asyncio.to_thread(sink.write, data)
        parser.finalize()
    except ClientDisconnect:
        raise ApiError(499, "the client has left") from None
    except FormParserError as error:
        raise ApiError(400, f"the body is no form: {visible(str(error))[:200]}") from error
    if not reader.ended:
        raise ApiError(400, "the form ends before its last boundary; send it again")
    if required and reader.form.filename is None:
        raise ApiError(400, f"{file_field} is missing", param=file_field, code="missing_required_parameter")
    return reader.form


class _Reader:
    """The parser's events, put together; raises ApiError inside of them."""

    def __init__(self, file_field: str) -> None:
        self.form = Form()
        self.ended = False
        self._file_field = file_field
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = bytearray(), bytearray()
        self._name, self._in_file, self._count = "", False, 0
        self._field, self._data = bytearray(), bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """What the parser calls."""
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": lambda data, start, end: self._grow(self._header, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow(self._value, data[start:end]),
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_ends,
            "on_end": self._end,
        }

    def take(self) -> bytes:
        """The bytes of the file that came since the last time."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def _grow(self, buffer: bytearray, data: bytes) -> None:
        buffer += data
        if len(buffer) > MOST_HEADER_BYTES:
            raise ApiError(400, "a part of the form has a header that is too long")

    def _part_begins(self) -> None:
        self._headers, self._count = {}, self._count + 1
        if self._count > MOST_FIELDS:
            raise ApiError(400, f"the form has more than {MOST_FIELDS} parts")

    def _header_ends(self) -> None:
        if len(self._headers) >= 16:
            raise ApiError(400, "a part of the form has more than 16 headers")
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if disposition != b"form-data" or b"name" not in options:
            raise ApiError(400, "a part of the form has no name")
        encoding = self._headers.get(b"content-transfer-encoding", b"").decode("latin-1").strip().lower()
        if encoding not in TRANSPARENT:
            raise ApiError(400, "a part of the form is encoded; send its bytes as they are")
        self._name = _text(options[b"name"], "a name of the form")
        filename = options.get(b"filename")
        self._in_file = self._name == self._file_field
        if self._in_file != (filename is not None):
            what = "must be a file, with a filename" if self._in_file else "must not be a file"
            raise ApiError(400, f"{visible(self._name)[:100]} {what}", param=visible(self._name)[:100])
        if filename is not None:
            if self.form.filename is not None:
                raise ApiError(400, f"{self._name} is there twice; send one file at a time", param=self._name)
            self.form.filename = _plain_name(_text(filename, "the filename"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._data += data[start:end]
            self.form.file_bytes += end - start
            return
        self._field += data[start:end]
        if len(self._field) > MOST_FIELD_BYTES:
            name = visible(self._name)[:100]
            raise ApiError(400, f"{name} has more than {MOST_FIELD_BYTES:,} bytes", param=name, code="invalid_value")

    def _part_ends(self) -> None:
        if not self._in_file:
            value = _text(bytes(self._field), visible(self._name)[:100])
            self.form.fields.setdefault(self._name, []).append(value)
        self._field = bytearray()

    def _end(self) -> None:
        self.ended = True


def _text(value: bytes, what: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, f"{what} is not UTF-8", code="invalid_value") from None


def _plain_name(name: str) -> str:
    """The last part of a path that a client gave, fit to be shown; it names no file here."""
    plain = visible(PurePosixPath(name.replace("\\", "/")).name)
    if not plain or len(plain) > LONGEST_NAME:
        raise ApiError(400, f"the filename must have 1 to {LONGEST_NAME} characters", param="file")
    return plain
