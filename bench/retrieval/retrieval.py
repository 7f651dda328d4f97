"""How well passages are found: by words (BM25), by meaning, and by both; and when there is nothing to find.

The questions (`questions.jsonl`) were written by hand over documents of three Debian packages, pinned by
sha256: the FAQ (HTML), the constitution and social contract (text); the Developer's Reference lies beside them and
answers none. Each question has the file and a few words of it that hold the answer; forty have no answer there.

A passage is right when it lies in that file and holds those words. recall@5: a right one is among the first five.
nDCG@10: 1 / log2(1 + rank) of the first right one among ten, for a question has one answer.

    python bench/retrieval/retrieval.py [--questions N] [--keep]
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ayllu.assistant.documents.documents import Documents
from ayllu.data.archive import Archive, default_cache, fetch, members

DATA = Path(__file__).with_name("questions.jsonl")
PACKAGES = (
    Archive(
        registry="debian",
        name="debian-faq",
        version="11.1",
        filename="debian-faq_11.1_all.deb",
        sha256="427426e0cfa6888622fc1d72631071cb4b5a1f86ccde722e7820bcef284de5d0",
    ),
    Archive(
        registry="debian",
        name="developers-reference",
        version="12.18",
        filename="developers-reference_12.18_all.deb",
        sha256="0dba82f6fa16e373f2a84ad07e7971aa9264ad2e7d2ae46b37edbc9c5fd57e2e",
    ),
    Archive(
        registry="debian",
        name="doc-debian",
        version="11.3+nmu1",
        filename="doc-debian_11.3+nmu1_all.deb",
        sha256="b9bff49f22b334cb6fedc071d81669e72cc2fa0dcd65e110785f69d9941f2773",
    ),
)
FIRST, DEEP = 5, 10
SHARES = (0.01, 0.02, 0.05, 0.1)
"""Of answerable questions that may be turned away, for the table of thresholds."""


def unpack(folder: Path) -> None:
    """The documents of the packages, each under its own name."""
    for archive in PACKAGES:
        for name, file in members(fetch(archive, default_cache())):
            path = Path(name)
            if path.name.endswith(".en.html") or (
                path.parent.name == "developers-reference" and path.suffix == ".html"
            ):
                (folder / path.name).write_bytes(file.read())
            elif path.name in ("constitution.txt.gz", "social-contract.txt.gz", "bug-reporting.txt.gz"):
                (folder / path.stem).write_bytes(gzip.decompress(file.read()))
    (folder / "developers-reference.html").unlink(missing_ok=True)  # all chapters of the others once more
    for name in ("index.en.html", "index.html", "search.html"):
        (folder / name).unlink(missing_ok=True)


def rank(found: Sequence[Any], question: dict[str, Any]) -> int | None:
    """Where the first right passage is, from 1."""
    words = " ".join(question["answer"].split())
    for at, one in enumerate(found, start=1):
        if Path(one.path).name == question["file"] and words in " ".join(one.text.split()):
            return at
    return None


def scores(ranks: Sequence[int | None]) -> dict[str, float]:
    """recall@5 and nDCG@10."""
    count = len(ranks)
    return {
        "recall_5": sum(one is not None and one <= FIRST for one in ranks) / count,
        "ndcg_10": sum(1 / math.log2(1 + one) for one in ranks if one is not None and one <= DEEP) / count,
        "first": sum(one == 1 for one in ranks) / count,
    }


def cosine(found: Any) -> float:
    """The nearest passage's cosine."""
    return max((one.cosine for one in found.passages if one.cosine is not None), default=0.0)


def main() -> None:
    """Index, ask, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, help="only so many of the answerable ones")
    parser.add_argument("--keep", action="store_true", help="write bench/records/retrieval.json")
    options = parser.parse_args()
    questions = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    asked = [one for one in questions if one["file"]][: options.questions]
    absent = [one for one in questions if not one["file"]]
    place = Path(tempfile.mkdtemp(prefix="ayllu-retrieval-"))
    try:
        (place / "documents").mkdir()
        unpack(place / "documents")
        figures, rounds = measure(place, asked, absent)
    finally:
        shutil.rmtree(place)
    print(json.dumps(figures, indent=1))
    if options.keep:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from keep import keep

        keep("retrieval", figures, rounds=rounds)


def measure(place: Path, asked: Sequence[dict[str, Any]], absent: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
    """Figures for a table, and what they come from."""
    with Documents(place / "home") as documents:
        began = time.process_time(), time.perf_counter()
        done = documents.add([place / "documents"])
        read = time.perf_counter() - began[1]
        passages = documents.waiting()
        began = time.process_time(), time.perf_counter()
        documents.embed()
        embedded = {"cpu": time.process_time() - began[0], "seconds": time.perf_counter() - began[1]}
        ranks: dict[str, list[int | None]] = {"words": [], "meaning": [], "both": []}
        present = []
        for question in asked:
            text = question["question"]
            both = documents.search(text, most=DEEP)
            words = documents.search(text, most=DEEP, words_only=True)
            meaning = documents.search(text, most=DEEP, meaning_only=True)
            for name, found in (("words", words), ("meaning", meaning), ("both", both)):
                ranks[name].append(rank(found.passages, question))
            present.append(cosine(both))
        gone = [cosine(documents.search(one["question"], most=DEEP)) for one in absent]
    figures = {
        "documents": len(done.added),
        "characters": done.characters,
        "passages": passages,
        "questions": len(asked),
        "without_answer": len(absent),
        "scores": {name: scores(found) for name, found in ranks.items()},
        "thresholds": [threshold(share, present, gone) for share in SHARES],
        "read_mb_a_minute": done.characters / 1e6 / read * 60,
        "vectors_mb_a_minute": done.characters / 1e6 / embedded["seconds"] * 60,
        "vectors_cpu_seconds_a_mb": embedded["cpu"] / (done.characters / 1e6),
    }
    return figures, {"ranks": ranks, "cosine_with_answer": present, "cosine_without": gone}


def threshold(share: float, present: Sequence[float], gone: Sequence[float]) -> dict[str, float]:
    """The cosine below which at most `share` of the questions with an answer lie, and what it turns away rightly."""
    ordered = sorted(present)
    value = ordered[int(share * len(ordered))]
    right = sum(one < value for one in gone) / len(gone)
    return {"turned_away_wrongly": share, "cosine": round(value, 3), "turned_away_rightly": round(right, 3)}


if __name__ == "__main__":
    main()
