"""One reader of files for training and for measuring: what a file's name says it is, unpacked, and read as texts."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from ayllu.data.sources import pages
from ayllu.data.sources.records import (
    DamagedError,
    NoTextError,
    Text,
    buffered,
    json_texts,
    line_texts,
    parquet_texts,
    plain_texts,
    table_texts,
)
from ayllu.lab.error import UserError

Reader = Callable[[IO[bytes], str, str, list[str]], Iterator[Text]]


def _page(read: Callable[[bytes], str]) -> Reader:
    return lambda file, place, name, notes: pages.page_texts(file, place, read)


PLAIN = (".txt", ".text", ".md", ".markdown", ".rst")
LINES = (".jsonl", ".ndjson", ".jsonlines")
PAGES = {".html": pages.html, ".htm": pages.html, ".xhtml": pages.html, ".pdf": pages.pdf, ".docx": pages.docx}
READERS: dict[str, Reader] = {
    **dict.fromkeys(PLAIN, plain_texts),
    **dict.fromkeys(LINES, line_texts),
    ".json": json_texts,
    ".csv": partial(table_texts, tabs=False),
    ".tsv": partial(table_texts, tabs=True),
    ".parquet": parquet_texts,
    **{ending: _page(read) for ending, read in PAGES.items()},
    ".epub": _page(pages.epub),
}
"""How each kind of file is read, by its ending in small letters."""
UNPACKERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".lzma": lzma.LZMAFile,
    ".zst": lambda file: pa.CompressedInputStream(file, "zstd"),
    ".lz4": lambda file: pa.CompressedInputStream(file, "lz4"),
}
"""Compressions of one file."""
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz")
"""Files that hold files."""
SEEKING = (".parquet", ".zip")
"""Kinds that are read from their end."""
LARGEST_SEEKING = 4 << 30
"""Most bytes that a compressed file of those kinds may unpack to: it is held in memory."""
_BREAKS = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException, tarfile.TarError, zipfile.BadZipFile)


def ending_of(name: str) -> tuple[str, list[str]]:
    """The ending that says what a file is, in small letters, and those of its compressions, outermost first."""
    suffixes, packed = [suffix.lower() for suffix in PurePosixPath(name).suffixes], []
    while suffixes and suffixes[-1] in UNPACKERS:
        packed.append(suffixes.pop())
    return (suffixes[-1] if suffixes else ""), packed


def readable(name: str) -> bool:
    """Whether a file of that name can be read."""
    ending, _ = ending_of(name)
    return ending in READERS or ending in ARCHIVES


def shown_ending(name: str) -> str:
    """The ending as a person counts files by it, such as `.odt` or `.odt.gz`; of a name without one, some words."""
    ending, packed = ending_of(name)
    return ending + "".join(reversed(packed)) or "no ending"


def read_texts(
    file: IO[bytes], place: str, name: str, notes: list[str], unread: Callable[[str, str], None]
) -> Iterator[Text]:
    """The texts of an open file. `place` names it in errors, `name` in notes and in `unread(name, reason)`.

    Raises UserError where it is damaged, NoTextError where it is of a kind without text, OSError where it cannot be
    read.
    """
    ending, packed = ending_of(name)
    for unpacker in packed:
        file = cast(IO[bytes], _Unpacked(UNPACKERS[unpacker], file))
    if packed and ending in SEEKING:
        file = _in_memory(file, place)
    try:
        if ending in ARCHIVES:
            yield from _archive_texts(file, place, name, notes, unread, zipped=ending == ".zip")
        else:
            yield from READERS.get(ending, _unknown)(file, place, name, notes)
    except DamagedError as error:
        raise UserError(f"{place} is damaged ({error}): copy or make it again") from error


def _unknown(file: IO[bytes], place: str, name: str, notes: list[str]) -> Iterator[Text]:
    """A file of a kind that is not known: what its first bytes say, or else plain text."""
    opened = buffered(file)
    start = opened.peek(256)[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, found in _MARKS.items():
        if start.startswith(mark):
            if isinstance(found, str):
                raise NoTextError(f"{place} is {found}, which is not read: save it as text")
            return found(opened, place, name, notes)
    if _JSON.match(start):
        raise NoTextError(f"{place} looks like JSON: give it the ending .json or .jsonl where it holds texts")
    if _XML.match(start):
        raise NoTextError(f"{place} looks like XML, which is not read: save it as text")
    return plain_texts(opened, place, name, notes)


_JSON = re.compile(rb'\{\s*["}]|\[\s*[{\["]')
_XML = re.compile(
    rb"<!?([a-z][\w:.-]*)(\s[^<>]*)?/?>\s*(<|\Z|[^<]*</\1>)|<[a-z][\w.-]*(:[\w.-]+)?\sxmlns", re.IGNORECASE
)
"""How a file begins whose words lie between braces or tags."""
_MARKS: dict[bytes, Reader | str] = {
    b"%pdf-": READERS[".pdf"],
    b"<!doctype html": READERS[".html"],
    b"<html": READERS[".html"],
    b"<?xml": "XML",
    b"{\\rtf": "RTF",
    b"pk\x03\x04": "a ZIP archive of another name",
    b"par1": READERS[".parquet"],
}


def _archive_texts(
    file: IO[bytes], place: str, name: str, notes: list[str], unread: Callable[[str, str], None], *, zipped: bool
) -> Iterator[Text]:
    members: Iterator[tuple[str, IO[bytes] | None]] = _zip_members(file) if zipped else _tar_members(file)
    for member, content in members:
        # As unzip and tar have it: no name leads out of its archive.
        member = posixpath.normpath(f"/{member}").lstrip("/")
        inside = f"{name}/{member}"
        if content is None:
            unread(inside, "it is a link or no file")
            continue
        if any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(member).parts):
            continue
        if not readable(member):
            unread(inside, "")
            continue
        try:
            yield from read_texts(content, f"{place}/{member}", inside, notes, unread)
        except NoTextError as error:
            unread(inside, str(error))


def _zip_members(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    try:
        archive = zipfile.ZipFile(file)
    except _BREAKS as error:
        raise DamagedError(error) from error
    for info in archive.infolist():
        if info.flag_bits & 1:
            raise DamagedError(f"{info.filename} is locked with a password")
        if not info.is_dir():
            with archive.open(info) as content:
                yield info.filename, _checked(info.filename, content)


def _tar_members(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Names and bytes; None for what is neither a file nor a folder."""
    try:
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isfile() else None
                if not info.isdir():
                    yield info.name, None if content is None else _checked(info.name, content)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DamagedError(error) from error


def _checked(name: str, content: IO[bytes]) -> IO[bytes]:
    """A member's bytes, whose errors say that it is damaged; in memory where it is read from its end."""
    checked = cast(IO[bytes], _Unpacked(lambda opened: opened, content))
    return _in_memory(checked, name) if ending_of(name) in [(kind, []) for kind in SEEKING] else checked


def _in_memory(file: IO[bytes], place: str) -> IO[bytes]:
    content = file.read(LARGEST_SEEKING + 1)
    if len(content) > LARGEST_SEEKING:
        raise UserError(f"{place} unpacks to more than {LARGEST_SEEKING >> 30} GiB: unpack it first")
    return io.BytesIO(content)


class _Unpacked(io.RawIOBase):
    """A reader of compressed bytes, whose errors all say that the file is damaged."""

    def __init__(self, unpack: Callable[[IO[bytes]], Any], file: IO[bytes]) -> None:
        self._unpack, self._packed = unpack, file
        self._file: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        try:
            if self._file is None:
                self._file = self._unpack(self._packed)
            chunk = self._file.read(len(buffer))
        except _BREAKS as error:
            raise DamagedError(str(error) or type(error).__name__) from error
        buffer[: len(chunk)] = chunk
        return len(chunk)
