"""Duplicates: exact ones by hash, near ones by MinHash with locality-sensitive hashing.

The scheme is FineWeb's (arXiv:2406.17557, appendix; datatrove 0.10.1): shingles of five words, 112 hashes in 14 bands
of 8, so that two documents with Jaccard similarity s meet with probability 1 - (1 - s^8)^14, one half at 0.68.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np
from rensa import RMinHash

SHINGLE = 5
BANDS, ROWS = 14, 8
HASHES = BANDS * ROWS
SEED = 1

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(
    # Words; and signs, but for the punctuation of prose: a hyphen or a dot between letters, a dash between words.
    r"\w+|[^\w\s.,;:!?…'\"‘’“”«»()\[\]–—-]+"
    # A sign before a number or a name, and between numbers.
    r"|(?<!\w)[-–](?=\.?\w|\()|(?<=\d) ?[-–] ?(?=\.?\d)"
    # What a number is made of, and a negation.
    r"|(?<=\d)[.,:;'’](?=\d)|(?<![\w.])\.(?=\d)|(?<![\w!])!(?=[\w(!])|!(?==)"
)


def tokens_of(text: str) -> list[str]:
    """Lower-case words and signs such as + and ++, without the punctuation of prose: what makes two texts the same."""
    return [token.strip().replace("–", "-") for token in _TOKEN.findall(text.lower())]


def digest(text: str) -> bytes:
    """Sixteen bytes that are equal for texts that differ only in case, punctuation and spaces."""
    return hashlib.blake2b(" ".join(tokens_of(text)).encode(), digest_size=16).digest()


def split_key(source: str, group: str, text: str) -> int:
    """A number below 2^64 that decides on which side of the held-out split a document falls.

    It depends on the group, or without one on the text, and never on place or company: what is added to a corpus later
    moves nothing.
    """
    # By words alone, as it always was: what counts as the same may change, the side of a document may not.
    words = " ".join(_WORD.findall(text.lower())).encode()
    what = f"{source}\0{group}".encode() if group else hashlib.blake2b(words, digest_size=16).digest()
    return int.from_bytes(hashlib.blake2b(what, digest_size=8).digest())


def shingles(text: str) -> list[str]:
    """Runs of five words or signs; a shorter text is one shingle."""
    words = tokens_of(text)
    return [" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))]


def signature(text: str) -> np.ndarray:
    """The 112 MinHash values of a text, uint32."""
    minhash = RMinHash(num_perm=HASHES, seed=SEED)
    minhash.update(shingles(text))
    return np.array(minhash.digest(), dtype=np.uint32)


class Clusters:
    """Union-find over document numbers; the lowest number stands for its cluster."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        """The lowest number in the item's cluster."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        """Make one cluster of two."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low


def near_duplicates(signatures: np.ndarray, jaccard: float) -> tuple[Clusters, Clusters]:
    """Clusters of documents that are one, and the wider clusters of documents that resemble one another.

    `signatures` is [documents, 112] uint32. Documents that meet in a band resemble one another; they are one where the
    share of equal hashes, which estimates the Jaccard similarity, reaches `jaccard`. The memory is that of the
    signatures and one sorted band.
    """
    same, alike = Clusters(len(signatures)), Clusters(len(signatures))
    for band in range(BANDS):
        rows = np.ascontiguousarray(signatures[:, band * ROWS : (band + 1) * ROWS])
        keys = rows.view(np.dtype((np.void, rows.itemsize * ROWS))).ravel()
        order = np.argsort(keys, kind="stable")
        equal = keys[order[1:]] == keys[order[:-1]]
        edges = np.concatenate(([0], np.flatnonzero(~equal) + 1, [len(order)]))
        for bucket in np.flatnonzero(np.diff(edges) > 1):
            _join_bucket(np.sort(order[edges[bucket] : edges[bucket + 1]]), signatures, jaccard, same, alike)
    return same, alike


def _join_bucket(bucket: np.ndarray, signatures: np.ndarray, jaccard: float, same: Clusters, alike: Clusters) -> None:
    """Join the documents of one bucket, each with the first ones that it is the same as."""
    rest = bucket
    while len(rest) > 1:
        first = int(rest[0])
        likeness = (signatures[rest[1:]] == signatures[first]).mean(axis=1)
        for other in rest[1:]:
            alike.join(first, int(other))
        for other in rest[1:][likeness >= jaccard]:
            same.join(first, int(other))
        rest = rest[1:][likeness < jaccard]
