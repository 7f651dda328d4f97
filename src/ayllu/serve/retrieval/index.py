"""An index of passages in one file of SQLite: full text by FTS5's BM25, vectors by exact comparison, and both fused."""

from __future__ import annotations

import json
import re
import threading
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ayllu.serve.files.database import Database

SCHEMA = (
    """CREATE TABLE about (name TEXT PRIMARY KEY, value NOT NULL);
    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY AUTOINCREMENT, document TEXT NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL
    );
    CREATE INDEX chunks_of ON chunks (document, number);
    CREATE TABLE vectors (chunk INTEGER NOT NULL REFERENCES chunks ON DELETE CASCADE, vector BLOB NOT NULL);
    CREATE INDEX vectors_of ON vectors (chunk);
    CREATE VIRTUAL TABLE words USING fts5 (
        text, content = 'chunks', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
    )""",
)
RANK_OFFSET = 60
"""k of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""
CANDIDATES = 200
"""Chunks that words and vectors each put forward."""
WORD = re.compile(r"\w+")
MOST_WORDS = 64
MERGED_PAGES = 200
"""Pages of the index of words that are merged in one step: some 50 ms, in which nobody else reads."""


class OtherEmbedder(ValueError):
    """An index is asked for with vectors of another kind than it holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A chunk to be kept: its text, and the vectors (N, dimensions) of its parts; none while they are not computed."""

    text: str
    vectors: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A chunk that was found."""

    document: str
    number: int
    """Which chunk of its document, from 0."""
    text: str
    score: float
    """0 to 1; 1 is first by words and by meaning."""
    cosine: float | None = None
    """Of its nearest part and what was searched for; None where it was found by words alone."""


class Index:
    """The passages of some documents. Threads may share it; a change is there whole or not at all."""

    def __init__(self, path: Path, *, embedder: str, dimensions: int) -> None:
        """Open or make the file. Raises OtherEmbedder where its vectors are of another embedder."""
        self._dimensions = dimensions
        self._database = Database(path, SCHEMA)
        weakref.finalize(self, self._database.close)  # nobody may be the last to use it
        self._lock = threading.Lock()
        self._generation, self._rows, self._matrix = -1, np.empty(0, np.int64), np.empty((0, dimensions), np.float32)
        with self._database.writing() as cursor:
            known = dict(cursor.execute("SELECT name, value FROM about").fetchall())
            if not known:
                values = [("embedder", embedder), ("dimensions", dimensions), ("generation", 0)]
                cursor.executemany("INSERT INTO about VALUES (?, ?)", values)
            elif (known["embedder"], known["dimensions"]) != (embedder, dimensions):
                raise OtherEmbedder(f"its vectors are those of {known['embedder']}, not of {embedder}")

    def add(self, document: str, passages: Sequence[Passage]) -> int:
        """Put in the passages of a document in place of those that it had; gives the bytes that they take."""
        size = 0
        with self._database.writing() as cursor:
            self._forget(cursor, document)
            for number, passage in enumerate(passages):
                cursor.execute(
                    "INSERT INTO chunks (document, number, text) VALUES (?, ?, ?)", (document, number, passage.text)
                )
                row = cursor.lastrowid
                cursor.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row, passage.text))
                vectors = np.ascontiguousarray(passage.vectors, "<f4").reshape(-1, self._dimensions)
                cursor.executemany("INSERT INTO vectors VALUES (?, ?)", [(row, one.tobytes()) for one in vectors])
                size += len(passage.text.encode()) + vectors.nbytes
            cursor.execute("UPDATE about SET value = value + 1 WHERE name = 'generation'")
        return size

    def remove(self, document: str) -> None:
        """Take a document out."""
        with self._database.writing() as cursor:
            self._forget(cursor, document)
            cursor.execute("UPDATE about SET value = value + 1 WHERE name = 'generation'")

    def chunks(self, document: str) -> list[str]:
        """The texts of a document's chunks, in their order."""
        rows = self._database.rows("SELECT text FROM chunks WHERE document = ? ORDER BY number", document)
        return [row["text"] for row in rows]

    def without_vectors(self, most: int) -> list[tuple[int, str]]:
        """Rows and texts of up to `most` chunks that have no vectors yet, in the order in which they came."""
        rows = self._database.rows(
            "SELECT id, text FROM chunks WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE chunk = id) ORDER BY id LIMIT ?",
            most,
        )
        return [(row["id"], row["text"]) for row in rows]

    def bare(self, chunks: Sequence[tuple[str, int]]) -> list[tuple[int, str]]:
        """Rows and texts of those among some chunks (document, number) that have no vectors yet."""
        rows = self._database.rows(
            "SELECT chunks.id, text FROM chunks JOIN json_each(?) AS wanted"
            " ON document = json_extract(wanted.value, '$[0]') AND number = json_extract(wanted.value, '$[1]')"
            " WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE chunk = chunks.id)",
            json.dumps(chunks),
        )
        return [(row["id"], row["text"]) for row in rows]

    def count_without_vectors(self) -> int:
        """How many chunks have no vectors yet."""
        (row,) = self._database.rows(
            "SELECT count(*) AS n FROM chunks WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE chunk = id)"
        )
        return int(row["n"])

    def put_vectors(self, vectors: Sequence[tuple[int, NDArray[np.float32]]]) -> None:
        """Keep the vectors (N, dimensions) of chunks that had none; chunks that are gone meanwhile are passed over."""
        with self._database.writing() as cursor:
            for row, parts in vectors:
                if cursor.execute("SELECT 1 FROM chunks WHERE id = ?", (row,)).fetchone() is None:
                    continue
                cursor.execute("DELETE FROM vectors WHERE chunk = ?", (row,))
                whole = np.ascontiguousarray(parts, "<f4").reshape(-1, self._dimensions)
                cursor.executemany("INSERT INTO vectors VALUES (?, ?)", [(row, one.tobytes()) for one in whole])
            cursor.execute("UPDATE about SET value = value + 1 WHERE name = 'generation'")

    def wipe(self) -> None:
        """Leave no byte of what was removed, in the index of words or in the log; others go between its steps."""
        pages = -MERGED_PAGES  # below 0: all levels are merged, so that every word that is gone is written out
        while True:
            with self._database.writing() as cursor:
                before = self._database.changes
                cursor.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (pages,))
                done = self._database.changes - before < 2  # how FTS5 says that nothing is left to be merged
            pages = MERGED_PAGES
            if done:
                break
        self._database.settle()

    def compact(self) -> None:
        """`wipe`, and give back the room."""
        self.wipe()
        self._database.shrink()

    def search(
        self,
        words: str,
        vector: NDArray[np.float32],
        *,
        most: int,
        documents: Collection[str] | None = None,
        word_weight: float = 1.0,
        vector_weight: float = 1.0,
    ) -> list[Hit]:
        """The best `most` chunks of `documents`, or of all, by reciprocal rank fusion of both rankings.

        `vector` (dimensions,) is that of `words`, of length 1. Where one of the weights is 0 the other ranking stands
        alone, and with the vectors alone the score is the cosine, from 0 on.
        """
        by_vector = self._by_vector(vector, documents) if vector_weight else []
        by_words = self._by_words(words, documents) if word_weight else []
        scores: dict[int, float] = {}
        cosines = dict(by_vector)
        if not word_weight:
            scores = {row: max(0.0, cosine) for row, cosine in by_vector}
        else:
            best = (word_weight + vector_weight) / (RANK_OFFSET + 1)
            for weight, ranking in ((vector_weight, [row for row, _ in by_vector]), (word_weight, by_words)):
                for rank, row in enumerate(ranking, start=1):
                    scores[row] = scores.get(row, 0.0) + weight / (RANK_OFFSET + rank) / best
        chosen = sorted(scores, key=lambda row: (-scores[row], row))[:most]
        found = {
            row["id"]: row
            for row in self._database.rows(
                "SELECT id, document, number, text FROM chunks WHERE id IN (SELECT value FROM json_each(?))",
                json.dumps(chosen),
            )
        }
        return [
            Hit(
                document=found[row]["document"],
                number=found[row]["number"],
                text=found[row]["text"],
                score=min(1.0, scores[row]),
                cosine=cosines.get(row),
            )
            for row in chosen
            if row in found
        ]

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _by_words(self, words: str, documents: Collection[str] | None) -> list[int]:
        """Rows of chunks that have any of the words, the best first; a query's signs are never FTS5's operators."""
        terms = list(dict.fromkeys(WORD.findall(words)))[:MOST_WORDS]
        if not terms:
            return []
        query = "SELECT words.rowid FROM words JOIN chunks ON chunks.id = words.rowid WHERE words MATCH ?"
        values: list[object] = [" OR ".join(f'"{term}"' for term in terms)]
        if documents is not None:
            query += " AND chunks.document IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(list(documents)))
        rows = self._database.rows(f"{query} ORDER BY bm25(words), words.rowid LIMIT {CANDIDATES}", *values)
        return [row["rowid"] for row in rows]

    def _by_vector(self, vector: NDArray[np.float32], documents: Collection[str] | None) -> list[tuple[int, float]]:
        """Rows of chunks with the cosine of their nearest part, the nearest first."""
        rows, matrix = self._vectors()
        if not len(rows):
            return []
        cosines = matrix @ vector.astype(np.float32)
        chunks, firsts = np.unique(rows, return_index=True)  # rows are sorted
        nearest = np.maximum.reduceat(cosines, firsts)
        if documents is not None:
            wanted = self._database.rows(
                "SELECT id FROM chunks WHERE document IN (SELECT value FROM json_each(?))", json.dumps(list(documents))
            )
            kept = np.isin(chunks, [row["id"] for row in wanted])
            chunks, nearest = chunks[kept], nearest[kept]
        order = np.lexsort((chunks, -nearest))[:CANDIDATES]
        return [(int(chunks[i]), float(nearest[i])) for i in order]

    def _vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All vectors and the rows of their chunks, read again after a change by whomever."""
        with self._lock:
            (known,) = self._database.rows("SELECT value FROM about WHERE name = 'generation'")
            if known["value"] != self._generation:
                rows = self._database.rows("SELECT chunk, vector FROM vectors ORDER BY chunk, rowid")
                self._rows = np.array([row["chunk"] for row in rows], np.int64)
                joined = b"".join(row["vector"] for row in rows)
                self._matrix = np.frombuffer(joined, "<f4").reshape(-1, self._dimensions).astype(np.float32)
                self._generation = known["value"]
            return self._rows, self._matrix

    @staticmethod
    def _forget(cursor: object, document: str) -> None:
        execute = cursor.execute  # type: ignore[attr-defined]
        execute(
            "INSERT INTO words (words, rowid, text) SELECT 'delete', id, text FROM chunks WHERE document = ?",
            (document,),
        )
        execute("DELETE FROM chunks WHERE document = ?", (document,))
