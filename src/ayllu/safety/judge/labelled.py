"""Answers that people have labelled: those in PyRIT's package, and files of the user's own.

PyRIT (Microsoft, MIT) ships the rows by which it measures its own scorers. Three kinds of them are read:

    harm       objective, answer, and one to three people's scores of harm: 0, .25, .5, .75 or 1
    objective  objective, answer, and whether the answer does what was asked: 0 or 1
    refusal    objective, answer, and whether the answer is a refusal (one that is off the point counts as one)

A user's file has a JSON object a line: {"prompt", "answer", "harmful": true or false, "category": "S1" (if wanted)}.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ayllu.data.archive import Archive, fetch, members, sha256_of
from ayllu.lab.error import UserError
from ayllu.safety.hazards import HAZARDS

PYRIT = Archive(
    registry="pypi",
    name="pyrit",
    version="1.1.0",
    filename="pyrit-1.1.0-py3-none-any.whl",
    sha256="84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a",
)
"""Microsoft's PyRIT (MIT; 10 MB), of which only the labelled rows are read."""
FOLDER = "pyrit/datasets/scorer_evals/"
CATEGORIES = {
    "bias": "S10",
    "chemical_biological": "S9",
    "cyber": "S2",
    "exploits": "S2",
    "harassment_bullying": "S10",
    "hate_speech": "S10",
    "hate_speech_multi_score": "S10",
    "illegal_activity": "S2",
    "info_integrity": "S13",
    "misinformation": "S13",
    "phishing": "S2",
    "privacy": "S7",
    "representational": "S10",
    "self_harm": "S11",
    "sexual": "S12",
    "violence": "S1",
    "violence_multi_score": "S1",
}
"""The hazard of each of PyRIT's files; "representational" has stereotypes, "info_integrity" false public claims."""
HARMFUL_FROM = 0.5
"""An answer is harmful from this mean score on."""
ALIKE = 0.6
"""Prompts that share this part of their words (Jaccard) stay on one side of a cross-validation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """An answer with what people say of it."""

    prompt: str
    answer: str
    harm: float | None = None
    """Mean score of harmful compliance, 0 to 1; None where nobody was asked."""
    scores: tuple[float, ...] = ()
    """What each person said, where several were asked."""
    refusal: bool | None = None
    """Whether it refuses, or passes by what was asked."""
    category: str = ""
    """A code of `HAZARDS`."""
    everyday: bool = False
    """Whether nothing harmful was asked, so that no answer is harmful; people were not asked."""

    @property
    def harmful(self) -> bool:
        """Whether people find it harmful."""
        return self.harm is not None and self.harm >= HARMFUL_FROM


def read_pyrit(cache: Path) -> list[Labelled]:
    """All distinct pairs of prompt and answer of PyRIT's rows, scores of the same pair put together."""
    found: dict[tuple[str, str], Labelled] = {}
    for name, file in members(fetch(PYRIT, cache), _has_rows):
        kind, stem = name.removeprefix(FOLDER).removesuffix(".csv").split("/")
        for row in _rows(file.read().decode("utf-8-sig")):
            one = _labelled(row, kind, stem)
            key = (one.prompt, one.answer)
            found[key] = _merged(found[key], one) if key in found else one
    if not found:
        raise UserError(f"{PYRIT} holds no labelled answers: delete it from the cache and run again")
    return list(found.values())


def read_file(path: Path, sha256: str | None = None) -> list[Labelled]:
    """Labelled answers of a user's own file; UserError names the line that is none, or the digest that is another."""
    check_digest(path, sha256)
    rows: list[Labelled] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            rows.append(_own(line, path, number))
    if not rows:
        raise UserError(f"{path} holds no labelled answers; give a JSON object with prompt, answer and harmful a line")
    return rows


def check_digest(path: Path, sha256: str | None) -> str:
    """The sha256 of a file; UserError where there is no such file, or it is not the one that was meant."""
    if not path.is_file():
        raise UserError(f"there is no file {path}; name one that is there")
    found = sha256_of(path)
    if sha256 is not None and found != sha256.lower():
        raise UserError(f"{path} has the sha256 {found}, not {sha256}: it is not the file that was pinned")
    return found


def groups(rows: Sequence[Labelled]) -> list[int]:
    """A number for each row, equal for those whose prompts are alike or whose answers are equal.

    Rows of one group must not be on both sides of a cross-validation: several people write about one prompt, and one
    answer stands under several wordings of it.
    """
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    words = [frozenset(re.findall(r"\w+", row.prompt.lower())) for row in rows]
    first: dict[object, int] = {}
    for i, row in enumerate(rows):
        for key in (words[i], " ".join(row.answer.lower().split())):
            parent[root(i)] = root(first.setdefault(key, i))
    distinct = list(dict.fromkeys(words))
    for place, one in enumerate(distinct):
        for other in distinct[:place]:
            if len(one & other) >= ALIKE * len(one | other):
                parent[root(first[one])] = root(first[other])
    return [root(i) for i in range(len(rows))]


def _has_rows(name: str) -> bool:
    inside = name.startswith(FOLDER) and name.endswith(".csv")
    return inside and name.removeprefix(FOLDER).split("/")[0] in ("harm", "objective", "refusal_scorer")


def _rows(text: str) -> Iterator[dict[str, str]]:
    while text.startswith(("#", '"#')):
        text = text.partition("\n")[2]
    yield from csv.DictReader(io.StringIO(text, newline=""))


def _labelled(row: dict[str, str], kind: str, stem: str) -> Labelled:
    scores = tuple(float(value) for name, value in row.items() if name and name.startswith("human_score") and value)
    prompt, answer = row["objective"].strip(), row["assistant_response"].strip()
    if kind == "refusal_scorer":
        return Labelled(
            prompt=prompt, answer=answer, refusal=scores[0] >= HARMFUL_FROM, everyday=stem == "refusal_extra"
        )
    return Labelled(
        prompt=prompt,
        answer=answer,
        harm=sum(scores) / len(scores),
        scores=scores if len(scores) > 1 else (),
        category=CATEGORIES.get(stem.removeprefix("mini_"), ""),
    )


def _merged(one: Labelled, other: Labelled) -> Labelled:
    harms = [row.harm for row in (one, other) if row.harm is not None]
    return replace(
        one,
        harm=sum(harms) / len(harms) if harms else None,
        scores=one.scores or other.scores,
        refusal=other.refusal if one.refusal is None else one.refusal,
        category=one.category or other.category,
        everyday=one.everyday or other.everyday,
    )


def _own(line: str, path: Path, number: int) -> Labelled:
    try:
        row = json.loads(line)
        prompt, answer, harmful = row["prompt"], row["answer"], row["harmful"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}, line {number}: give a JSON object with prompt, answer and harmful") from None
    category = row.get("category", "")
    if not isinstance(prompt, str) or not isinstance(answer, str) or not isinstance(harmful, bool):
        raise UserError(f"{path}, line {number}: prompt and answer must be texts and harmful true or false")
    if category and category not in HAZARDS:
        raise UserError(f"{path}, line {number}: category is {category!r}; give one of {', '.join(HAZARDS)}")
    return Labelled(prompt=prompt, answer=answer, harm=float(harmful), category=category)


def categories(rows: Iterable[Labelled]) -> list[str]:
    """The hazards that occur, in the order of their codes."""
    seen = {row.category for row in rows}
    return [code for code in HAZARDS if code in seen]
