"""The documents of a home: add, search, open, list, remove. New ones are found by words at once, by meaning later."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ayllu.assistant.documents.catalogue import READER, Catalogue, File, Place
from ayllu.assistant.documents.citation import Citation, file_id, parse
from ayllu.assistant.documents.found import Found, Search, supports
from ayllu.assistant.documents.passages import spans
from ayllu.assistant.documents.reader_process import ReaderProcess, Unreadable
from ayllu.lab.error import UserError
from ayllu.lab.visible import valid_text, visible
from ayllu.serve.files.database import NewerSchema
from ayllu.serve.retrieval.chunks import windows
from ayllu.serve.retrieval.index import Index, OtherEmbedder, Passage

if TYPE_CHECKING:
    from ayllu.serve.embeddings.embedder import Embedder

ENCODER = "all-MiniLM-L6-v2"
DIMENSIONS = 384
LEFT_OUT = ("node_modules", "__pycache__")
"""Folders that are never read, besides those whose names begin with a dot."""
TOGETHER = 64
"""Passages whose vectors are computed and kept together: a kill loses no more."""
AT_SEARCH = 16
"""Passages found by words that get their vectors during a search, where they have none yet."""
SPARE = 8
"""A part for the encoder is shorter than its longest text by one part in so many: a cut word has more tokens."""
Told = Callable[[str, int], None]
"""Hears of each file that is done: its path, and how many bytes it has."""


@dataclass(kw_only=True)
class Added:
    """What became of files that were to be added."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    removed: list[str] = field(default_factory=list)
    """Files of a folder that are there no more."""
    unread: list[tuple[str, str]] = field(default_factory=list)
    """Files without text that can be read, and why."""
    characters: int = 0
    """Of all that was read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A cited passage in its surroundings."""

    path: str
    page: str
    before: str
    passage: str
    after: str
    current: bool
    """Whether the file is still what was read."""


class Documents:
    """The documents of a home. One thread may use it at a time."""

    def __init__(self, home: Path, *, encoder: Callable[[], Embedder] | None = None) -> None:
        """`encoder` gives what turns texts into vectors, and is asked when one is needed."""
        self._folder = home / "documents"
        self._make = encoder or _minilm
        self._known_encoder: Embedder | None = None
        try:
            self._catalogue = Catalogue(self._folder / "catalogue.sqlite")
            self._index = Index(self._folder / "passages.sqlite", embedder=ENCODER, dimensions=DIMENSIONS)
        except (OSError, sqlite3.Error, NewerSchema, OtherEmbedder) as error:
            if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                told = f"cannot write to {home} ({error.strerror}); choose another folder with --home"
                raise UserError(told) from error
            raise UserError(f"the documents in {self._folder} cannot be opened ({error}); free or repair it") from error

    def add(self, places: Sequence[Path], *, told: Told = lambda path, size: None) -> Added:
        """Read the files, and those of the folders, that are new or changed; forget those that are gone from them.

        Hidden files, links, and the folders `LEFT_OUT` are passed over. What a kill interrupts, the next call goes on
        with. Raises UserError where a place is not there.
        """
        roots = [_absolute(place) for place in places]
        for root in roots:
            if not root.exists():
                raise UserError(f"there is no file or folder {root}; give one that is there")
        done = Added()
        known = {file.path: file for file in self._catalogue.files()}
        seen: set[str] = set()
        with ReaderProcess() as reader:
            for path in _files(roots):
                seen.add(str(path))
                self._add(path, known.get(str(path)), reader, done)
                told(str(path), path.stat().st_size if path.exists() else 0)
        gone = [file for file in known.values() if file.path not in seen and _below(Path(file.path), roots)]
        for file in gone:
            self._forget(file)
            done.removed.append(file.path)
        if gone:
            self._compact()
        return done

    def add_upload(self, name: str, content: bytes) -> Added:
        """Add a file that somebody sent, which is kept in the home until it is removed."""
        plain = Path(name.replace("\\", "/")).name.lstrip(".") or "upload"
        folder = self._folder / "uploads" / hashlib.sha256(content).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / plain).write_bytes(content)
        return self.add([folder / plain])

    def embed(self, *, told: Callable[[int], None] = lambda passages: None) -> int:
        """Compute the vectors of passages that have none yet; gives how many. A kill loses a handful."""
        count = 0
        while waiting := self._index.without_vectors(TOGETHER):
            self._index.put_vectors(self._vectors(waiting))
            count += len(waiting)
            told(len(waiting))
        return count

    def waiting(self) -> int:
        """How many passages are searched by words only, until their vectors are there."""
        return self._index.count_without_vectors()

    def search(self, query: str, *, most: int = 5, words_only: bool = False, meaning_only: bool = False) -> Search:
        """The best `most` passages for a query, by words and meaning, and whether they support an answer.

        `words_only` ranks by BM25 alone, `meaning_only` by the vectors that are there.
        """
        query = valid_text(query)
        if not query.strip():
            raise UserError("there is nothing to search for; say what you want to know")
        if words_only or not self._catalogue.files():
            vector = np.zeros(DIMENSIONS, np.float32)
        else:
            vector = self._query_vector(query)
            first = self._index.search(query, vector, most=AT_SEARCH, vector_weight=0)
            bare = self._index.bare([(hit.document, hit.number) for hit in first])
            if bare:
                self._index.put_vectors(self._vectors(bare))
        by_words, by_meaning = float(not meaning_only), float(not words_only)
        hits = self._index.search(query, vector, most=2 * most, word_weight=by_words, vector_weight=by_meaning)
        found: list[Found] = []
        for hit in hits:
            file, place = self._catalogue.find(hit.document), self._catalogue.place(hit.document, hit.number)
            if file is not None and place is not None and len(found) < most:
                where = Citation(file=file.id, page=place.page, start=place.first, end=place.last)
                found.append(
                    Found(
                        citation=str(where),
                        path=file.path,
                        page=place.label,
                        text=hit.text,
                        score=hit.score,
                        cosine=hit.cosine,
                    )
                )
        return Search(query=query, passages=tuple(found), supported=supports(query, found))

    def open(self, citation: str, *, around: int = 400) -> Opened:
        """The cited passage, with `around` characters before and after it. Raises UserError where it is not there."""
        try:
            where = parse(citation)
        except ValueError as error:
            raise UserError(str(error)) from None
        file, page = self._catalogue.find(where.file), self._catalogue.page(where.file, where.page)
        if file is None or page is None or not where.start < where.end <= len(page[1]):
            raise UserError(f"nothing is at {where}: the file was removed or has changed; search again")
        label, text = page
        first, last = max(0, where.start - around), min(len(text), where.end + around)
        return Opened(
            path=file.path,
            page=label,
            before=text[first : where.start],
            passage=text[where.start : where.end],
            after=text[where.end : last],
            current=_is_same(file),
        )

    def files(self) -> list[File]:
        """All files that are known, by path."""
        return self._catalogue.files()

    def remove(self, names: Sequence[str]) -> list[str]:
        """Forget files (by id or path) and all below folders; their text is gone from every index. Gives the paths."""
        gone: list[File] = []
        for name in map(valid_text, names):
            path = _absolute(Path(name))
            file = self._catalogue.find(name) or self._catalogue.find(str(path))
            below = [one for one in self._catalogue.files() if path in Path(one.path).parents]
            found = [file] if file is not None else below
            if not found:
                raise UserError(f"{name} is none of your documents; `ayllu documents list` tells them")
            gone += found
        for file in {one.id: one for one in gone}.values():
            self._forget(file)
        self._compact()
        return [file.path for file in {one.id: one for one in gone}.values()]

    def close(self) -> None:
        """Let go of the files."""
        self._catalogue.close()
        self._index.close()

    def __enter__(self) -> Documents:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, path: Path, known: File | None, reader: ReaderProcess, done: Added) -> None:
        if not _is_utf8(str(path)):
            done.unread.append((visible(str(path)), "its name is not UTF-8; give it another one"))
            return
        try:
            state = path.stat()
        except OSError as error:
            done.unread.append((str(path), error.strerror or "it cannot be opened"))
            return
        size, changed = state.st_size, state.st_mtime_ns
        settled = known is not None and known.state != "reading" and known.reader == READER
        if known and settled and (known.size, known.changed) == (size, changed) and not _worth_a_try(known):
            done.unchanged += 1
            return
        id = known.id if known else file_id(str(path))
        try:
            pages, digest = reader.read(path, path.name)
        except Unreadable as error:
            self._index.remove(id)
            self._catalogue.begin(id, str(path), size=size, changed=changed)
            self._catalogue.fail(id, str(error))
            done.unread.append((str(path), str(error)))
            return
        if known and settled and known.digest == digest:
            self._catalogue.touch(id, size=size, changed=changed)
            done.unchanged += 1
            return
        self._catalogue.begin(id, str(path), size=size, changed=changed)
        places = [
            Place(page=number, label=label, first=first, last=last)
            for number, (label, text) in enumerate(pages, start=1)
            for first, last in spans(text)
        ]
        none = np.empty((0, DIMENSIONS), np.float32)
        texts = [pages[place.page - 1][1][place.first : place.last] for place in places]
        self._index.add(id, [Passage(text=text, vectors=none) for text in texts])
        self._catalogue.finish(id, digest, pages, places)
        (done.changed if known else done.added).append(str(path))
        done.characters += sum(len(text) for _, text in pages)

    def _forget(self, file: File) -> None:
        self._index.remove(file.id)
        self._catalogue.remove(file.id)
        path = Path(file.path)
        if (self._folder / "uploads") in path.parents:
            path.unlink(missing_ok=True)

    def _compact(self) -> None:
        self._index.compact()
        self._catalogue.compact()

    def _encoder(self) -> Embedder:
        if self._known_encoder is None:
            self._known_encoder = self._make()
        return self._known_encoder

    def _vectors(self, waiting: Sequence[tuple[int, str]]) -> list[tuple[int, Any]]:
        """The vectors (N, dimensions) of the parts of each passage: few are longer than what the encoder reads."""
        encoder = self._encoder()
        most = max(1, (encoder.longest - len(encoder.encode(""))) * (SPARE - 1) // SPARE)
        parts, owners = [], []
        for row, text in waiting:
            starts = encoder.starts(text)
            for part in windows(text, starts, most=most) if len(starts) > most else [text]:
                parts.append(encoder.encode(part)[: encoder.longest])
                owners.append(row)
        vectors = encoder.embed(parts)
        return [(row, vectors[[at for at, owner in enumerate(owners) if owner == row]]) for row, _ in waiting]

    def _query_vector(self, query: str) -> Any:
        encoder = self._encoder()
        return encoder.embed([encoder.encode(query)[: encoder.longest]])[0]


def search_documents(query: str, *, most: int = 5, home: Path | None = None) -> Search:
    """The passages of the user's documents that are nearest to a query, with citations: the assistant's tool.

    Where `supported` is false the answer is that it is not in the documents.
    """
    from ayllu.lab.store import default_home

    with Documents(home or default_home()) as documents:
        return documents.search(query, most=most)


def _minilm() -> Embedder:
    from ayllu.data.archive import default_cache
    from ayllu.serve.embeddings.encoder import fetch_encoder

    return fetch_encoder(ENCODER, default_cache())


def _files(roots: Iterable[Path]) -> Iterator[Path]:
    """The files to read, each once: those that are named, and those below the folders that are named."""
    seen: set[Path] = set()
    for root in roots:
        if root.is_file():
            found: Iterable[Path] = [root]
        else:
            found = _walk(root)
        for path in found:
            if path not in seen:
                seen.add(path)
                yield path


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in LEFT_OUT)
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and not path.is_symlink() and path.is_file():
                yield path


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _below(path: Path, roots: Sequence[Path]) -> bool:
    return any(root in path.parents for root in roots)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100  links stay as they are named


def _worth_a_try(file: File) -> bool:
    """Whether a file that was not read may be now: a package that was missing may be there."""
    return file.state == "unread" and "not installed" in (file.reason or "")


def _is_same(file: File) -> bool:
    try:
        state = Path(file.path).stat()
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (file.size, file.changed)
