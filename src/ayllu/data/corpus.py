"""A corpus on disk: documents with provenance in one parquet file, read as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ayllu.data.document import Document
from ayllu.lab.error import UserError

ROW_GROUP_BYTES = 8 << 20
"""Text bytes of a row group: what is held in memory while writing or reading."""


class Corpus:
    """A folder that `build_corpus` wrote."""

    def __init__(self, folder: Path) -> None:
        """Open the corpus in `folder`. Raises UserError where there is none."""
        self.folder = Path(folder)
        self._path = self.folder / "documents.parquet"
        if not self._path.is_file():
            raise UserError(f"{folder} holds no corpus (documents.parquet is missing): build one with `ayllu run`")

    def documents(self, split: str | None = "train", source: str | None = None) -> Iterator[Document]:
        """Stream the documents of a split (`train`, `heldout`, None for both), of one source or of all."""
        for text, name, id_, side in read_document_rows(self._path):
            if (split is None or side == split) and (source is None or name == source):
                yield Document(text=text, source=name, id=id_)

    @cached_property
    def sources(self) -> list[dict[str, Any]]:
        """Name, licence, archives, documents and bytes of each source."""
        return self._json("sources.json")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The report: rules, and what each of them did to each source."""
        return self._json("report.json")

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.folder / name} cannot be read ({error}): build the corpus again") from error


class DocumentWriter:
    """Writes rows of text, source, id and one more column, in row groups of `ROW_GROUP_BYTES`, zstd-compressed."""

    def __init__(self, path: Path, *, last_column: str) -> None:
        self._schema = pa.schema([(name, pa.string()) for name in ("text", "source", "id", last_column)])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[tuple[str, str, str, str]] = []
        self._bytes = 0

    def add(self, text: str, source: str, id_: str, last: str) -> None:
        """Write one row."""
        self._rows.append((text, source, id_, last))
        self._bytes += len(text)
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [pa.array(column, pa.string()) for column in zip(*self._rows, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows, self._bytes = [], 0

    def __enter__(self) -> DocumentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def read_document_rows(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """The rows of a file that `DocumentWriter` wrote."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except (pa.ArrowInvalid, pa.ArrowIOError) as error:
        raise UserError(f"{path} is damaged ({error}): build the corpus again") from error
