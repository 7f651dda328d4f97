"""Documents to rows of tokens that a model trains on, kept in memory-mapped files.

A row holds `length` + 1 ids: `row[:-1]` goes in, `row[1:]` is to be predicted. A document starts with BOS and ends with
EOS, so the rows need no table of boundaries: BOS says where attention stops. Documents are put into rows whole where
they fit (best fit, "Fewer Truncations Improve Language Modeling", arXiv:2404.10830). A longer one is cut; each
continuation opens a row and repeats the last id before the cut, so that every id but BOS is predicted once. What
remains of a row is padding, which nobody predicts.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

BUFFER_DOCUMENTS = 8192
"""Documents that are fitted into rows together; bounds memory, and 8,192 leave under 1 % padding on everyday text."""

WHOLE_BYTES = 1 << 28
"""Files up to 256 MiB are digested whole, which takes a fraction of a second."""


@dataclass(frozen=True, kw_only=True)
class SourceRows:
    """What one source gave."""

    rows: int
    documents: int
    tokens: int
    """Ids to predict: all but BOS and padding."""
    bytes: int
    """UTF-8 bytes of the text behind them, where the documents say so."""


@dataclass(frozen=True, kw_only=True)
class TokensHeader:
    """What `tokens.json` says of a folder of rows."""

    length: int
    """T: ids that go in per row; a row has one more."""
    vocabulary: int
    bos: int
    pad: int
    sources: dict[str, SourceRows]
    masked: bool = False
    """Whether `NAME.mask` says which ids are to be predicted (else all but BOS and padding)."""

    @property
    def dtype(self) -> np.dtype:
        """Two bytes an id where they suffice."""
        return np.dtype("<u2" if self.vocabulary <= 65_536 else "<u4")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizedDocument:
    """One document as ids, BOS first, and for each id whether it is to be predicted.

    A document that is longer than a row is cut into several, of which only the first begins with BOS.
    """

    ids: Sequence[int]
    predict: Sequence[bool] | None = None
    bytes: int = 0
    """UTF-8 bytes of the document's text."""


class Tokens:
    """A folder of packed rows: `tokens.json`, and for each source `NAME.rows` (and `NAME.mask`)."""

    def __init__(self, folder: Path) -> None:
        raw = json.loads((folder / "tokens.json").read_text())
        sources = {name: SourceRows(**facts) for name, facts in raw.pop("sources").items()}
        self.header = TokensHeader(sources=sources, **raw)
        shape = self.header.length + 1
        self._rows = {
            name: _open(folder / f"{name}.rows", self.header.dtype, (s.rows, shape)) for name, s in sources.items()
        }
        self._masks = (
            {name: _open(folder / f"{name}.mask", np.dtype("u1"), (s.rows, shape)) for name, s in sources.items()}
            if self.header.masked
            else None
        )

    def rows(self, source: str, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of `source` by number, (N, length + 1)."""
        return self._rows[source][numbers].astype(np.int64)

    def predicted(self, source: str, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which ids of these rows are to be predicted, (N, length + 1)."""
        if self._masks is not None:
            return self._masks[source][numbers].astype(bool)
        rows = self._rows[source][numbers]
        return (rows != self.header.bos) & (rows != self.header.pad)

    def fingerprint(self) -> str:
        """Digest of the header and of the rows: all of small files, 4,096 rows spread evenly over large ones."""
        found = hashlib.sha256(json.dumps(asdict(self.header), sort_keys=True).encode())
        for part in (self._rows, self._masks or {}):
            for name in sorted(part):
                every = max(len(part[name]) // 4096, 1) if part[name].nbytes > WHOLE_BYTES else 1
                found.update(np.ascontiguousarray(part[name][::every]).data)
        return found.hexdigest()


def write_tokens(
    folder: Path,
    sources: Mapping[str, Iterable[TokenizedDocument]],
    *,
    length: int,
    vocabulary: int,
    bos: int,
    pad: int,
    masked: bool = False,
) -> TokensHeader:
    """Pack each source's documents into `folder`. Raises ValueError when `length` is below 2."""
    if length < 2:
        raise ValueError(f"the row length is {length}; it must be at least 2")
    header = TokensHeader(length=length, vocabulary=vocabulary, bos=bos, pad=pad, sources={}, masked=masked)
    for name, documents in sources.items():
        rows_path, mask_path = folder / f"{name}.rows", folder / f"{name}.mask"
        with rows_path.open("wb") as rows, mask_path.open("wb") as masks:
            header.sources[name] = _pack_source(documents, header, rows, masks if masked else None)
        if not masked:
            mask_path.unlink()
    (folder / "tokens.json").write_text(json.dumps(asdict(header), indent=2) + "\n")
    return header


def pack_best_fit(lengths: Sequence[int], capacity: int, opens: Sequence[bool]) -> list[list[int]]:
    """Group sequences by number so that each group's lengths sum to at most `capacity`.

    Best fit decreasing: the longest first, each into the row that it fills best. A sequence that `opens` is the first
    of a row of its own, which others may fill up.
    """
    rows: list[list[int]] = []
    spaces: list[tuple[int, int]] = []  # (room left, row), sorted
    for number in sorted(range(len(lengths)), key=lambda n: (not opens[n], -lengths[n], n)):
        at = len(spaces) if opens[number] else bisect.bisect_left(spaces, (lengths[number], -1))
        if at < len(spaces):
            room, row = spaces.pop(at)
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(number)
        if room > lengths[number]:
            bisect.insort(spaces, (room - lengths[number], row))
    return rows


def _pack_source(
    documents: Iterable[TokenizedDocument], header: TokensHeader, rows: BinaryIO, masks: BinaryIO | None
) -> SourceRows:
    count = written = tokens = size = 0
    buffer: list[TokenizedDocument] = []

    def flush() -> None:
        nonlocal written, tokens
        opens = [piece.ids[0] != header.bos for piece in buffer]
        for group in pack_best_fit([len(piece.ids) for piece in buffer], header.length + 1, opens):
            row = np.full(header.length + 1, header.pad, dtype=header.dtype)
            mask = np.zeros(header.length + 1, dtype="u1")
            at = 0
            for number in group:
                piece = buffer[number]
                end = at + len(piece.ids)
                row[at:end] = piece.ids
                mask[at:end] = 1 if piece.predict is None else piece.predict
                mask[at] = 0  # the first id of a piece is BOS, or was predicted by the piece before
                at = end
            rows.write(row.tobytes())
            if masks is not None:
                masks.write(mask.tobytes())
            written += 1
            tokens += int(mask.sum())
        buffer.clear()

    for document in documents:
        count += 1
        size += document.bytes
        buffer += _cut(document, header.length + 1)
        if len(buffer) >= BUFFER_DOCUMENTS:
            flush()
    flush()
    return SourceRows(rows=written, documents=count, tokens=tokens, bytes=size)


def _cut(document: TokenizedDocument, capacity: int) -> Iterator[TokenizedDocument]:
    ids, predict = document.ids, document.predict
    for at in range(0, max(len(ids) - 1, 1), capacity - 1):
        yield TokenizedDocument(
            ids=ids[at : at + capacity], predict=None if predict is None else predict[at : at + capacity]
        )


def _open(path: Path, dtype: np.dtype, shape: tuple[int, int]) -> NDArray:
    if shape[0] == 0:
        return np.empty(shape, dtype)
    found, expected = path.stat().st_size, shape[0] * shape[1] * dtype.itemsize
    if found != expected:
        raise ValueError(f"{path} has {found} bytes instead of {expected}; it is damaged")
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)
