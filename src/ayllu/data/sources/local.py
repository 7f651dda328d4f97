"""Text on this machine as a source: a file or a folder, whatever kinds of files it holds (`reader.py`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ayllu.data.document import Document, Source, split_text
from ayllu.data.sources.reader import ARCHIVES, PLAIN, READERS, read_texts, readable, shown_ending
from ayllu.data.sources.records import NoTextError, Text
from ayllu.lab.error import UserError

WHOLE = 20_000
"""Characters up to which a text stays one document; longer ones are cut into pieces."""

Unread = dict[str, list[str]]
"""Files that were not read, by their ending."""


def folder_source(path: Path) -> Source:
    """The source `folder:PATH`. Raises UserError where nothing readable is there."""
    path = path.expanduser()
    if not path.exists():
        raise UserError(f"there is no file or folder {path}: check the path after folder:")
    if not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is neither a file nor a folder: save what it gives in a file")
    unread: Unread = {}
    files = [path] if path.is_file() else _files_below(path, unread)
    if not files:
        others = f" (but {count_unread(unread)})" if unread else ""
        raise UserError(
            f"{path} holds no file that ends with {', '.join([*READERS, *ARCHIVES])}{others}: there is nothing to read"
        )
    base = path.parent if path.is_file() else path
    name = f"folder:{_shown(path.resolve().name)}"
    notes: list[str] = []
    return Source(
        name=name,
        title=_shown(path.resolve().name),
        licence="not stated",
        description=f"{len(files)} local file{'s' if len(files) > 1 else ''}.",
        required=True,
        read=lambda cache: read_files(files, base=base, source=name, notes=notes, unread=unread),
        notes=notes,
        unread=unread,
    )


def read_files(
    files: Sequence[Path], *, base: Path, source: str, notes: list[str], unread: Unread | None = None
) -> Iterator[Document]:
    """Stream the documents of `files`; ids are paths below `base` with a number, and long texts are cut.

    `notes` gets what the report should say, `unread` the files of a folder in which no text is found. Raises
    UserError, with the file's name and line, where a file is damaged, or has no text field or is no text although it is
    the only one.
    """
    for _, name, texts in _open_files(files, base, notes, unread):
        for number, (text, group) in enumerate(_documents(texts, name), start=1):
            yield Document(text=text, source=source, id=f"{name}:{number}", group=group)


def whole_texts(path: Path, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """(source, text) pairs of a file or a folder, uncut: what `read_files` reads. `say` gets what was not as it should.

    The source is what a record says, or else the file's name. Raises UserError as `folder_source` and `read_files` do.
    """
    path = path.expanduser()
    unread: Unread = {}
    notes: list[str] = []
    if not path.exists():
        raise UserError(f"{path} cannot be read (No such file or directory): give a file or a folder with text")
    # What is neither, such as a pipe of the shell's, is read as it comes.
    files = _files_below(path, unread) if path.is_dir() else [path]
    for file, _, texts in _open_files(files, path.parent if path.is_file() else path, notes, unread):
        stem = file.name.partition(".")[0] or file.name
        parts: list[str] = []
        for text in texts:
            parts.append(text.text)
            if not text.more:
                if whole := "".join(parts):
                    yield text.source or stem, whole
                parts = []
    for note in [*notes, *([count_unread(unread)] if unread else [])]:
        say(note)


def count_unread(unread: Unread, shown: int = 3) -> str:
    """How many files were not read, by ending, with some of their names."""
    total = sum(map(len, unread.values()))
    kinds = [
        f"{len(names):,} {ending} ({', '.join(names[:shown])}{', …' if len(names) > shown else ''})"
        for ending, names in sorted(unread.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return f"{total:,} file{'s were' if total > 1 else ' was'} not read: {', '.join(kinds)}"


def _open_files(
    files: Sequence[Path], base: Path, notes: list[str], unread: Unread | None
) -> Iterator[tuple[Path, str, Iterator[Text]]]:
    """Each file with its name and its texts. What has no text is counted, unless it is the only file."""
    for path in files:
        name = _shown(path.relative_to(base).as_posix())
        yield path, name, _texts(path, name, notes, None if len(files) == 1 else unread)


def _texts(path: Path, name: str, notes: list[str], unread: Unread | None) -> Iterator[Text]:
    def count(missed: str, reason: str) -> None:
        if unread is not None:
            unread.setdefault(shown_ending(missed), []).append(missed)
        if reason or unread is None:
            notes.append(f"{missed} was not read" + (f": {reason}" if reason else ""))

    found = False
    try:
        with path.open("rb") as file:
            for text in read_texts(file, str(path), name, notes, count):
                found = True
                yield text
    except NoTextError as error:
        lenient = not name.lower().endswith((*PLAIN, ".parquet")) and ".jsonl" not in name.lower()
        if found or unread is None or not lenient:
            raise
        count(name, str(error))
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror or error}): check the file and its permissions"
        ) from error


def _documents(texts: Iterator[Text], name: str) -> Iterator[tuple[str, str]]:
    """The texts of a file, each with its group: long ones as pieces of one group."""
    number, buffer, long = 1, "", False
    for text in texts:
        buffer += text.text
        group = name if name.lower().endswith(PLAIN) else f"{name}:{number}"
        if text.more:
            long = True
            space = buffer[len(buffer.rstrip()) :]
            *pieces, buffer = split_text(buffer) or [""]
            buffer += space
            yield from ((piece, group) for piece in pieces)
            continue
        if long or len(buffer) > WHOLE:
            yield from ((piece, group) for piece in split_text(buffer))
        elif buffer.strip():
            yield buffer, ""
        number, buffer, long = number + 1, "", False


def _files_below(folder: Path, unread: Unread) -> list[Path]:
    """Readable files in the order of their names, also behind links; hidden ones are left alone, others are counted."""
    found: list[Path] = []
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read {error.filename} ({error.strerror}): check its permissions") from error

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            # A link to a folder that is read already, perhaps to one around it.
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent) / name
            if name.startswith("."):
                continue
            if readable(name) and path.is_file():
                found.append(path)
            else:
                shown = _shown(path.relative_to(folder).as_posix())
                unread.setdefault(shown_ending(name), []).append(shown)
    for missed in unread.values():
        missed.sort()
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _shown(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes that are no UTF-8 become U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
