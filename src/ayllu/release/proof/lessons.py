"""The data pipeline again, where what was learnt is made by generators: the same conversations from the same seed.

lessons.jsonl of a proof, one line a group of conversations, the first ones that the seed gives: the sha256 of its ids
and of what the assistant produces of them.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.release.proof.answers import read_lines, write_lines

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

FILE = "lessons.jsonl"
SAMPLED = 60
"""Groups, the first: those behind them take all before them to be made again."""
SEED = "seed"
"""Of proof.json: what this part was drawn from; a pipeline of documents has none."""


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """What a training learnt from."""

    conversations: Path
    """A group a line, as `Conversations.as_json` gives them; those of generators come first."""
    seed: int
    groups: int
    """Of generators."""


def write_lessons(folder: Path, learnt: Lessons, tokenizer: Tokenizer) -> dict[str, Any]:
    """Write lessons.jsonl and return what proof.json says of it.

    Raises UserError, in words, where the generators do not give what was learnt any more.
    """
    count = min(SAMPLED, learnt.groups)
    if not count:
        raise UserError("what it learnt from is made by no generator")
    found = list(_digests(tokenizer, learnt.seed, count))
    lines = learnt.conversations.read_text(encoding="utf-8").splitlines()[:count]
    if [_digest(json.loads(line)) for line in lines] != found:
        raise UserError("the generators give other conversations from its seed than those that it learnt from")
    write_lines(folder / FILE, [{"group": number, "sha256": digest} for number, digest in enumerate(found)])
    return {SEED: learnt.seed, "groups": count}


def lessons_problems(folder: Path, told: Mapping[str, Any], tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    """A file and what is wrong with it, for each group that comes out otherwise."""
    stated = [row["sha256"] for row in read_lines(folder / FILE)]
    if not 0 < len(stated) == told["groups"] <= SAMPLED:
        yield FILE, f"holds {len(stated)} groups of conversations, and proof.json says {told['groups']}"
        return
    for number, digest in enumerate(_digests(tokenizer, told[SEED], len(stated))):
        if digest != stated[number]:
            yield FILE, f"says another group {number} of conversations than the generators give from its seed"
            return


def _digests(tokenizer: Tokenizer, seed: int, count: int) -> Iterator[str]:
    from ayllu.data.conversations.lessons import lessons
    from ayllu.train.objectives.sft import with_shared_prefix

    for group in islice(lessons(tokenizer, random.Random(seed)), count):
        yield _digest(with_shared_prefix(group).as_json())


def _digest(group: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(group, sort_keys=True).encode()).hexdigest()
